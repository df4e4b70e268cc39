"""The simulator of WeChat, against the facts."""
