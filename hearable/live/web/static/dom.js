// What both tabs use: elements, the line of news, ranges of decibels.
export const byId = (id) => document.getElementById(id);

export function tell(text) {
  if (byId("news").textContent !== text) byId("news").textContent = text;
}

// A range of -60 to 0 dB whose lowest value is silence.
export function onDecibels(input, changed) {
  const value = document.querySelector(`[data-for=${input.id}]`);
  const show = () => {
    const db = Number(input.value);
    value.textContent = db <= -60 ? "silent" : `${db} dB`;
    input.setAttribute("aria-valuetext", value.textContent);
    changed(db <= -60 ? null : db);
  };
  input.addEventListener("input", show);
  show();
}
