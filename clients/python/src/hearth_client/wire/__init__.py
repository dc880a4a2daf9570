"""Between this package's own types and the API's messages."""
