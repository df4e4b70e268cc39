"""WeChat as this server uses it."""
