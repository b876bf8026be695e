"""How a conversation becomes text, and how the next token is chosen."""
