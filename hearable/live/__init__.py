"""Live hearing: the processing that the terminal app, the web page and the bridge share, and the audio engine."""
