"""The bridge to a device with microphones: the wire protocol (firmware_bridge/PROTOCOL.md) and the host's side."""
