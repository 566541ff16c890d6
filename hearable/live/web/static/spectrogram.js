// Spectrograms on a canvas: low tones below, on a scale near to the ear's; -95 to -25 dB, both ears' mean.
const FRAME = 512, HOP = 256;
const MOST_WAITING = 128; // columns, while the page is hidden or the computer too slow to draw
const LOW_HZ = 60, LEAST_DB = -95, RANGE_DB = 70;
const COLOURS = [[11, 11, 18], [32, 30, 84], [12, 93, 120], [27, 158, 130], [166, 214, 96], [255, 247, 196]];

const hann = Float32Array.from({ length: FRAME }, (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / FRAME));
const turns = Array.from({ length: FRAME / 2 }, (_, k) => (-2 * Math.PI * k) / FRAME);
const cosines = Float32Array.from(turns, Math.cos), sines = Float32Array.from(turns, Math.sin);

const palette = Array.from({ length: 256 }, (_, n) => {
  const place = (n / 255) * (COLOURS.length - 1), k = Math.min(Math.floor(place), COLOURS.length - 2);
  return COLOURS[k].map((value, c) => value + (place - k) * (COLOURS[k + 1][c] - value));
});

// Levels in dB of the FRAME/2 bins of a frame that begins at a place; radix-2, in place, bits reversed before.
function levels(samples, begin) {
  const re = new Float32Array(FRAME), im = new Float32Array(FRAME);
  for (let n = 0, reversed = 0; n < FRAME; n++) {
    re[reversed] = hann[n] * (samples[begin + n] ?? 0);
    let bit = FRAME >> 1;
    for (; reversed & bit; bit >>= 1) reversed ^= bit;
    reversed |= bit;
  }
  for (let half = 1; half < FRAME; half *= 2) {
    for (let k = 0; k < half; k++) {
      const c = cosines[(k * FRAME) / (2 * half)], s = sines[(k * FRAME) / (2 * half)];
      for (let a = k; a < FRAME; a += 2 * half) {
        const b = a + half, x = re[b] * c - im[b] * s, y = re[b] * s + im[b] * c;
        re[b] = re[a] - x;
        im[b] = im[a] - y;
        re[a] += x;
        im[a] += y;
      }
    }
  }
  return re.subarray(0, FRAME / 2).map((x, k) => 10 * Math.log10((16 * (x * x + im[k] * im[k])) / FRAME ** 2 + 1e-12));
}

// The bins that each row of pixels shows, highest tones first: equal steps in mel.
function rowsOf(height, rate) {
  const mel = (hz) => Math.log1p(hz / 700), top = mel(rate / 2), low = mel(LOW_HZ);
  const bin = (row) => (700 * Math.expm1(low + ((height - row) / height) * (top - low)) * FRAME) / rate;
  return Array.from({ length: height }, (_, row) => [
    Math.floor(bin(row + 1)),
    Math.min(Math.max(Math.ceil(bin(row)), Math.floor(bin(row + 1)) + 1), FRAME / 2),
  ]);
}

function column(rows, db, image, x) {
  rows.forEach(([from, to], row) => {
    let most = -200;
    for (let k = from; k < to; k++) most = Math.max(most, db[k]);
    const share = Math.min(Math.max((most - LEAST_DB) / RANGE_DB, 0), 1);
    const [r, g, b] = palette[Math.round(255 * share)];
    image.data.set([r, g, b, 255], 4 * (row * image.width + x));
  });
}

// Scrolls: the newest sound at the right.
export class LiveSpectrogram {
  constructor(canvas, rate) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.rows = rowsOf(canvas.height, rate);
    this.image = this.context.createImageData(MOST_WAITING, canvas.height);
    this.waiting = 0; // columns of the image that are not yet on the canvas
    this.samples = new Float32Array(FRAME);
    this.fresh = 0;
  }

  // A chunk: all of the left ear, then all of the right.
  push(chunk) {
    const size = chunk.length / 2;
    this.samples.copyWithin(0, size);
    for (let n = 0; n < size; n++) this.samples[FRAME - size + n] = (chunk[n] + chunk[size + n]) / 2;
    this.fresh += size;
    if (this.fresh < HOP) return;
    this.fresh -= HOP;
    if (this.waiting === MOST_WAITING) return;
    if (!this.waiting) requestAnimationFrame(() => this.draw());
    column(this.rows, levels(this.samples, 0), this.image, this.waiting++);
  }

  // All that came since the last picture at once: a busy computer draws less often, and still hears its user.
  draw() {
    const { width, height } = this.canvas;
    this.context.drawImage(this.canvas, -this.waiting, 0);
    this.context.putImageData(this.image, width - this.waiting, 0, 0, 0, this.waiting, height);
    this.waiting = 0;
  }
}

// The whole of an AudioBuffer in the width of the canvas.
export function drawWhole(canvas, buffer) {
  const context = canvas.getContext("2d"), image = context.createImageData(canvas.width, canvas.height);
  const rows = rowsOf(canvas.height, buffer.sampleRate);
  const left = buffer.getChannelData(0), right = buffer.getChannelData(buffer.numberOfChannels - 1);
  const mean = left.map((value, n) => (value + right[n]) / 2);
  for (let x = 0; x < canvas.width; x++) {
    column(rows, levels(mean, Math.round(((x + 0.5) / canvas.width) * mean.length - FRAME / 2)), image, x);
  }
  context.putImageData(image, 0, 0);
}
