// Chunks of float32, all of the left ear, then all of the right, as a 32-bit float wav.
export function wavOf(chunks, rate) {
  const size = chunks[0].length / 2, samples = chunks.length * size;
  const bytes = new DataView(new ArrayBuffer(44 + 8 * samples));
  const text = (at, value) => [...value].forEach((c, n) => bytes.setUint8(at + n, c.charCodeAt(0)));
  text(0, "RIFF");
  bytes.setUint32(4, 36 + 8 * samples, true);
  text(8, "WAVEfmt ");
  bytes.setUint32(16, 16, true);
  bytes.setUint16(20, 3, true); // IEEE float
  bytes.setUint16(22, 2, true);
  bytes.setUint32(24, rate, true);
  bytes.setUint32(28, 8 * rate, true);
  bytes.setUint16(32, 8, true);
  bytes.setUint16(34, 32, true);
  text(36, "data");
  bytes.setUint32(40, 8 * samples, true);
  let at = 44;
  for (const chunk of chunks) {
    for (let n = 0; n < size; n++, at += 8) {
      bytes.setFloat32(at, chunk[n], true);
      bytes.setFloat32(at + 4, chunk[size + n], true);
    }
  }
  return new Blob([bytes], { type: "audio/wav" });
}
