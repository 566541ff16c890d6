// The list of people: who is heard, whom to keep, whom to forget.
import { byId } from "./dom.js";

// select, forget: what to do with a name; null is everything.
export function showPeople({ people, selected }, select, forget) {
  const list = byId("choices");
  const focused = list.contains(document.activeElement) ? document.activeElement.dataset.who : null;
  list.replaceChildren(...[null, ...people].map((name, n) => person(name, n, name === selected, select, forget)));
  if (focused != null) list.querySelector(`[data-who="${CSS.escape(focused)}"]`)?.focus();
}

function person(name, n, selected, select, forget) {
  const row = document.createElement("div");
  row.className = "person";
  const radio = Object.assign(document.createElement("input"), {
    type: "radio", name: "who", id: `who-${n}`, checked: selected,
  });
  radio.dataset.who = name ?? "";
  radio.addEventListener("change", () => select(name));
  const label = Object.assign(document.createElement("label"), { htmlFor: radio.id, textContent: name ?? "Everything" });
  row.append(radio, label);
  if (name === null) return row;
  const query = new URLSearchParams(location.search);
  query.set("name", name);
  const keep = Object.assign(document.createElement("a"), {
    className: "button", textContent: "Save", href: `/profile?${query}`, download: `${name}.profile`,
    ariaLabel: `Save the profile of ${name}`,
  });
  const drop = Object.assign(document.createElement("button"), { textContent: "Forget", ariaLabel: `Forget ${name}` });
  drop.addEventListener("click", () => forget(name));
  row.append(keep, drop);
  return row;
}
