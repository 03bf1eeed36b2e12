"""What a machine needs, starts and ends: Java, jars, a broker, processes, packages."""
