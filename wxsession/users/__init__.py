"""Who somebody is: users, their WeChat identities, and how two become one."""
