"""WeChat as this server sees it."""
