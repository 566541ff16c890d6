"""The local page of live hearing: server, protocol and, in ``static``, what the browser runs."""
