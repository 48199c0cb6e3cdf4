"use strict";
(() => {
  // Filters: what does not match is not shown; what hangs below it is.
  const bar = document.querySelector(".filters");
  const entries = [...document.querySelectorAll(".tree li")];
  const texts = entries.map((li) => li.firstElementChild.textContent.toLowerCase());
  const search = bar.querySelector("input");
  let kind = "all";
  const filter = () => {
    const wanted = search.value.trim().toLowerCase();
    entries.forEach((li, at) => {
      const fits = (kind === "all" || li.classList.contains(kind)) && texts[at].includes(wanted);
      li.classList.toggle("off", !fits);
      li.classList.toggle("hit", fits && wanted !== "");
    });
  };
  for (const button of bar.querySelectorAll("button")) {
    button.addEventListener("click", () => {
      kind = button.dataset.show;
      for (const other of bar.querySelectorAll("button")) other.setAttribute("aria-pressed", String(other === button));
      filter();
    });
  }
  search.addEventListener("input", filter);
  bar.hidden = false;
  const open = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!(target instanceof HTMLDetailsElement)) return;
    if (target.parentElement.classList.contains("off")) bar.querySelector("button").click();
    target.open = true;
    target.scrollIntoView({ block: "center" });
  };
  addEventListener("hashchange", open);
  open();

  // Recordings: pictures that say which rows are new.
  const palette = ["#2e3436", "#e0564f", "#6cb86a", "#d9a441", "#5f9be6", "#b58ad6", "#4fb8b8", "#d7d9dc",
    "#6b7075", "#ff8a80", "#98e096", "#ffd479", "#93bfff", "#d7b5f5", "#86e0e0", "#ffffff"];
  const paint = (colour, own) =>
    typeof colour === "number" ? palette[colour] : colour === "front" ? "#d7d9dc" : colour === "back" ? "#16181b" : colour ?? own;
  const clock = (millis) => {
    const seconds = Math.floor(millis / 1000);
    return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  };
  const run = ([text, front, back, flags = 0]) => {
    const span = document.createElement("span");
    span.textContent = text;
    if (front !== undefined && front !== null) span.style.color = paint(front);
    if (back !== undefined && back !== null) span.style.backgroundColor = paint(back);
    if (flags & 1) span.style.fontWeight = "bold";
    if (flags & 2) span.style.opacity = "0.6";
    if (flags & 4) span.style.fontStyle = "italic";
    if (flags & 8) span.style.textDecoration = "underline";
    if (flags & 16) span.style.textDecoration = "line-through";
    return span;
  };
  const player = (figure, cast) => {
    const screen = figure.querySelector(".screen");
    const controls = figure.querySelector(".controls");
    const [play, seek, out, speed, short] = [".play", ".seek", "output", ".speed", ".short"].map((one) => controls.querySelector(one));
    const rows = [];
    screen.replaceChildren();
    for (let at = 0; at < cast.rows; at += 1) {
      const row = document.createElement("div");
      row.textContent = " ".repeat(at ? 1 : cast.columns);
      rows.push(row);
      screen.append(row);
    }
    const blank = (at) => rows[at] && (rows[at].textContent = at ? " " : " ".repeat(cast.columns));
    let next = 0;
    let now = 0;
    let playing = false;
    let before = 0;
    const show = (millis) => {
      if (next > 0 && cast.pictures[next - 1][0] > millis) {
        rows.forEach((_, at) => blank(at));
        next = 0;
      }
      const dirty = new Map();
      while (next < cast.pictures.length && cast.pictures[next][0] <= millis) {
        for (const [at, runs] of cast.pictures[next][1]) dirty.set(at, runs);
        next += 1;
      }
      for (const [at, runs] of dirty) {
        if (!rows[at]) continue;
        if (runs.length === 0) blank(at);
        else rows[at].replaceChildren(...runs.map(run));
      }
      now = millis;
      seek.value = String(Math.round(millis));
      out.textContent = `${clock(millis)} / ${clock(cast.duration)}`;
    };
    const stop = () => {
      playing = false;
      play.textContent = "Play";
    };
    const tick = (at) => {
      if (!playing) return;
      let to = now + (at - before) * Number(speed.value);
      before = at;
      const due = next < cast.pictures.length ? cast.pictures[next][0] : cast.duration;
      if (short.checked && due - to > 1500) to = due - 1500;
      show(Math.min(to, cast.duration));
      if (now >= cast.duration) stop();
      else requestAnimationFrame(tick);
    };
    play.addEventListener("click", () => {
      if (playing) return stop();
      if (now >= cast.duration) show(0);
      playing = true;
      play.textContent = "Pause";
      requestAnimationFrame((at) => {
        before = at;
        tick(at);
      });
    });
    seek.max = String(cast.duration);
    seek.addEventListener("input", () => show(Number(seek.value)));
    controls.hidden = false;
    show(cast.duration);
    if (cast.cut) figure.querySelector("figcaption").append(" (only its beginning: the rest is too large for this page)");
  };
  const casts = JSON.parse(document.getElementById("casts").textContent);
  for (const figure of document.querySelectorAll("figure[data-cast]")) player(figure, casts[Number(figure.dataset.cast)]);
})();
