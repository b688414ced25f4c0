/* Draws the figures in the colours of the page, and sorts tables. No network, no storage. */
"use strict";
(function () {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");

  function themed(value, style) {
    if (typeof value === "string" && value.startsWith("@")) {
      return style.getPropertyValue("--" + value.slice(1)).trim() || "#888";
    }
    if (Array.isArray(value)) return value.map((v) => themed(v, style));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, themed(v, style)]));
    }
    return value;
  }

  const LEAST = 120; // px: a narrower figure shows nothing

  /** Break the titles of axes that are longer than the axis. */
  function fitTitles({ data, layout }, width) {
    const { ticktext = [] } = layout.yaxis || {};
    const names = [...ticktext, ...data.flatMap((d) => d.y || [])]
      .filter((v) => typeof v === "string");
    const beside = 70 + Math.min(0.5 * width, 6.4 * Math.max(0, ...names.map((v) => v.length)));
    for (const [key, axis] of Object.entries(layout)) {
      const title = /^[xy]axis\d*$/.test(key) && axis.title;
      if (!title || !title.text) continue;
      const [from, to] = axis.domain || [0, 1];
      const long = key[0] === "x" ? width - beside : layout.height - 80;
      const most = Math.max(14, Math.floor((long * (to - from)) / 6.4));
      let line = "";
      const lines = [];
      for (const word of title.text.split(" ")) {
        if (line && line.length + 1 + word.length > most) { lines.push(line); line = word; }
        else line = line ? line + " " + word : word;
      }
      title.text = [...lines, line].join("<br>");
    }
  }

  function draw(div, width) {
    const source = document.getElementById(div.dataset.plot);
    if (!source || !window.Plotly) return null;
    const figure = JSON.parse(source.textContent);
    const style = getComputedStyle(document.documentElement);
    const base = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: "@muted" },
      hoverlabel: { bgcolor: "@card", bordercolor: "@axis", font: { color: "@ink" } },
    };
    const wide = width || div.clientWidth;
    fitTitles(figure, wide);
    drawn.set(div, wide);
    const layout = themed({ ...base, ...figure.layout, width: wide }, style);
    const options = { displaylogo: false, displayModeBar: false };
    return window.Plotly.react(div, themed(figure.data, style), layout, options);
  }

  // A figure is drawn when it comes near the window, and again when its place changes its width.
  const plots = Array.from(document.querySelectorAll("[data-plot]"));
  const drawn = new Map();
  let onPaper = false;
  function drawAgain() { drawn.forEach((_, div) => { if (div.clientWidth >= LEAST) draw(div); }); }
  const near = new IntersectionObserver((seen) => seen.forEach(({ isIntersecting, target }) => {
    if (!isIntersecting || target.clientWidth < LEAST) return;
    near.unobserve(target);
    if (!drawn.has(target)) draw(target);
  }), { rootMargin: "700px 0px" });
  const sized = new ResizeObserver((seen) => seen.forEach(({ target }) => {
    const wide = target.clientWidth;
    if (onPaper || wide < LEAST || drawn.get(target) === wide) return;
    if (drawn.has(target)) draw(target);
    else { near.unobserve(target); near.observe(target); }
  }));
  plots.forEach((div) => { near.observe(div); sized.observe(div); });

  function sortable(table) {
    const body = table.tBodies[0];
    const heads = Array.from(table.querySelectorAll("thead th"));
    heads.forEach((head, column) => {
      const button = head.querySelector("button");
      if (!button) return;
      button.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") === "descending";
        heads.forEach((h) => h.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const key = (row) => {
          const raw = row.cells[column].dataset.raw;
          return raw === "" ? null : isNaN(raw) ? raw : Number(raw);
        };
        const rows = Array.from(body.rows).sort((a, b) => {
          const [x, y] = [key(a), key(b)];
          if (x === null || y === null) return (x === null) - (y === null);
          const order = typeof x === "string" || typeof y === "string"
            ? String(x).localeCompare(String(y)) : x - y;
          return up ? order : -order;
        });
        body.append(...rows);
      });
    });
  }

  // On a phone the rows of links are wider than the screen: show where we are.
  const here = document.querySelector(".top nav [aria-current]");
  if (here) here.closest("nav").scrollLeft = here.offsetLeft - 40;

  // A link to a folded section opens it.
  function open() {
    const place = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    const folded = place && place.querySelector(":scope > details");
    if (folded && !folded.open) { folded.open = true; place.scrollIntoView(); }
  }
  window.addEventListener("hashchange", open);
  document.querySelectorAll(".toc a").forEach((a) => a.addEventListener("click", () => {
    if (a.hash === location.hash) open();
  }));
  open();

  // The list of sections shows which one is being read.
  const links = Array.from(document.querySelectorAll(".toc a"));
  const bar = document.querySelector(".toc");
  const parts = links.map((a) => document.getElementById(a.hash.slice(1)));
  const mark = () => {
    const n = parts.filter((p) => p && p.getBoundingClientRect().top < 140).length - 1;
    links.forEach((a, i) => {
      if (i !== n) { a.removeAttribute("aria-current"); return; }
      if (a.hasAttribute("aria-current")) return;
      a.setAttribute("aria-current", "true");
      bar.scrollLeft = a.offsetLeft - bar.clientWidth / 3;
    });
  };
  if (bar) window.addEventListener("scroll", () => requestAnimationFrame(mark), { passive: true });

  document.querySelectorAll("table.sortable").forEach(sortable);
  dark.addEventListener("change", drawAgain);
  // Paper is narrower than most screens: draw again at the width of the column on paper.
  window.addEventListener("beforeprint", () => {
    onPaper = true;
    document.documentElement.classList.add("paper");
    document.querySelectorAll("details").forEach((d) => { d.open = true; });
    plots.forEach((div) => draw(div, div.clientWidth));
  });
  window.addEventListener("afterprint", () => {
    onPaper = false;
    document.documentElement.classList.remove("paper");
    drawAgain();
  });
})();
