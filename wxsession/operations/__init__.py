"""What an operator or a timer does."""
