// Live progress; every page says the same without it, as of when it was loaded.
"use strict";
(() => {
  const box = document.getElementById("live-runs");
  if (!box || !window.EventSource) return;
  const word = document.getElementById("live-word");
  const none = document.getElementById("live-none");
  let before = "";

  const bytes = (value) => {
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = 0;
    while (value >= 1024 && unit < units.length - 1) { value /= 1024; unit += 1; }
    return unit === 0 ? `${value} B` : `${value.toFixed(1)} ${units[unit]}`;
  };
  const add = (parent, name, text) => {
    const element = document.createElement(name);
    if (text !== undefined) element.textContent = text;
    parent.append(element);
    return element;
  };

  const component = (list, name, state) => {
    const item = add(list, "li");
    const of = state.expected ? ` of ${bytes(state.expected)}` : "";
    const error = state.error ? `: ${state.error}` : "";
    add(item, "span", `${name}: ${state.state}, ${bytes(state.bytes)}${of}${error}`);
    if (state.expected && state.state === "reads") {
      const bar = add(item, "progress");
      bar.max = state.expected;
      bar.value = Math.min(state.bytes, state.expected);
      bar.setAttribute("aria-label", name);
    }
  };

  const show = (runs) => {
    box.replaceChildren();
    for (const run of runs) {
      const article = add(box, "article");
      article.className = "run";
      const session = run.session ? `, ${run.session}` : "";
      add(article, "h3", `${run.job}${session}: ${run.phase}`);
      const list = add(article, "ul");
      for (const [name, state] of Object.entries(run.components)) component(list, name, state);
    }
    if (none) none.hidden = runs.length > 0;
    const now = runs.map((run) => `${run.job}: ${run.phase}`).join("; ");
    // Said once for each phase, not for each byte.
    if (now !== before && word) word.textContent = now || (before ? "Nothing runs any more." : "");
    before = now;
  };

  const source = new EventSource("/events");
  source.addEventListener("runs", (event) => show(JSON.parse(event.data)));
  source.addEventListener("snapshot", () => {
    const newer = document.getElementById("newer");
    if (newer) newer.hidden = false;
  });
})();
