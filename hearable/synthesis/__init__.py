"""Scenes as plain data, and their rendering to audio (needs the extra ``synthesis``)."""
