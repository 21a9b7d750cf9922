"""What children do with other people's files; nothing here is called in the server's own process."""
