"""Django: its sessions in the database, its auth user."""
