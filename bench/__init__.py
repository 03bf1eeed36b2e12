"""Speed against what people would use instead, and pictures of the page."""
