"""What a character is: bytes and documents in, values out."""
