"""What lies in the warehouse, and how it is read and written."""
