// The microphones: two channels as they are, none of the browser's "enhancements".
export async function openMicrophone(device) {
  if (!navigator.mediaDevices) throw new Error("Browsers give a microphone only to pages of this computer or https.");
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({
      audio: {
        deviceId: device ? { exact: device } : undefined,
        channelCount: 2,
        echoCancellation: false,
        noiseSuppression: false,
        autoGainControl: false,
      },
    });
  } catch (problem) {
    throw new Error(
      problem.name === "NotAllowedError"
        ? "The browser was not allowed to use the microphone: allow it beside the address, and start again."
        : `No microphone can be used (${problem.message || problem.name}): connect one, or choose another.`,
    );
  }
  const { channelCount } = stream.getAudioTracks()[0].getSettings();
  if (channelCount === 1) {
    stream.getTracks().forEach((track) => track.stop());
    throw new Error("This microphone has one channel. Hearing where people are takes one at each ear: choose another.");
  }
  return stream;
}

// Microphones and headphones into their lists; names are known once a microphone was allowed.
export async function listDevices(lists) {
  const devices = await navigator.mediaDevices.enumerateDevices();
  for (const [kind, list] of Object.entries(lists)) {
    const chosen = list.value;
    const found = devices.filter((device) => device.kind === kind && device.deviceId && device.deviceId !== "default");
    list.replaceChildren(new Option("default", ""), ...found.map((d) => new Option(d.label || d.deviceId, d.deviceId)));
    list.value = found.some((device) => device.deviceId === chosen) ? chosen : "";
  }
}
