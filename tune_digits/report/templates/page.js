const root = document.documentElement, button = document.getElementById("theme");
const names = { "": "theme: as the system", light: "theme: light", dark: "theme: dark" };
const kept = { get: () => { try { return localStorage.getItem("theme") || ""; } catch { return ""; } },
               set: (name) => { try { localStorage.setItem("theme", name); } catch { /* a page from a disk may not keep it */ } } };
function show(name) {
  if (name) root.dataset.theme = name; else delete root.dataset.theme;
  button.textContent = names[name];
}
show(kept.get() in names ? kept.get() : "");
button.addEventListener("click", () => {
  const order = Object.keys(names), next = order[(order.indexOf(root.dataset.theme || "") + 1) % order.length];
  kept.set(next);
  show(next);
});
// a link to a trial opens it
function open() {
  const part = location.hash && document.getElementById(location.hash.slice(1));
  if (part && part.tagName === "DETAILS") { part.open = true; part.scrollIntoView(); }
}
addEventListener("hashchange", open);
open();
