/* The map of a scene: layers, coordinates at its edge, and the landslides of the list. */
"use strict";
(function () {
  const root = document.querySelector(".mapview");
  const part = (name) => root.querySelector(`[data-part="${name}"]`);
  const all = (query) => [...root.querySelectorAll(query)];
  const [frame, sheet, outlines, graticule] = ["frame", "sheet", "outlines", "graticule"].map(part);
  const geo = JSON.parse(part("geo").textContent);
  const { width, height, pixel_m: metres } = geo;
  const CLOSEST_M = 150; // width of the map at the largest scale
  const APART_PX = 95; // least distance of lines of the graticule
  sheet.style.setProperty("--aspect", width / height);

  /** Longitude and latitude of a place on the sheet, 0 to 1 each way. */
  const degrees = (u, v) => {
    const terms = [1, u, v, u * u, u * v, v * v, u ** 3, u * u * v, u * v * v, v ** 3];
    return geo.lonlat.map((factors) => factors.reduce((sum, f, i) => sum + f * terms[i], 0));
  };
  const named = (value, ends, digits) =>
    `${Math.abs(value).toFixed(digits)}°\u202f${ends[value < 0 ? 1 : 0]}`;
  /** The least of 1, 2, 5, 10 … from a value on, and the largest up to it. */
  const steps = (value) => [1, 2, 5, 10].map((n) => n * 10 ** Math.floor(Math.log10(value)));
  const least = (value) => steps(value).find((n) => n >= value);
  const most = (value) => steps(value).findLast((n) => n <= value);

  /** Lines of longitude or latitude: [value, share of the way on one edge, and on the other]. */
  function lines([a, b], [c, d], px) {
    const step = least((Math.abs(b - a) * APART_PX) / px);
    const found = [];
    for (let k = Math.ceil(Math.min(a, b) / step); k * step <= Math.max(a, b); k++) {
      found.push([k * step, (k * step - a) / (b - a), (k * step - c) / (d - c)]);
    }
    return { found, digits: Math.max(0, Math.ceil(-Math.log10(step) - 1e-9)) };
  }

  function annotate() {
    const [f, s] = [frame, sheet].map((e) => e.getBoundingClientRect());
    if (!s.width) return;
    sheet.classList.toggle("near", s.width > 2 * width);
    sheet.classList.toggle("closer", zoomer.scale() > 2);
    const [x0, y0] = [Math.max(0, s.left - f.left), Math.max(0, s.top - f.top)];
    const x1 = Math.min(frame.clientWidth, s.right - f.left);
    const y1 = Math.min(frame.clientHeight, s.bottom - f.top);
    const at = (x, y) => degrees((x + f.left - s.left) / s.width, (y + f.top - s.top) / s.height);
    const [nw, ne, sw, se] = [at(x0, y0), at(x1, y0), at(x0, y1), at(x1, y1)];
    const drawn = [];
    const line = (a, b, c, d) => drawn.push(`<line x1="${a}" y1="${b}" x2="${c}" y2="${d}"/>`);
    const text = (x, y, words, anchor = "start") =>
      drawn.push(`<text x="${x}" y="${y}" text-anchor="${anchor}">${words}</text>`);
    const meridians = lines([sw[0], se[0]], [nw[0], ne[0]], x1 - x0);
    for (const [value, low, high] of meridians.found) {
      const x = x0 + low * (x1 - x0);
      line(x0 + high * (x1 - x0), y0, x, y1);
      if (x < x1 - 70) text(x + 4, y1 - 6, named(value, "EW", meridians.digits));
    }
    const parallels = lines([sw[1], nw[1]], [se[1], ne[1]], y1 - y0);
    for (const [value, left, right] of parallels.found) {
      const y = y1 - left * (y1 - y0);
      line(x0, y, x1, y1 - right * (y1 - y0));
      if (y > y0 + 62 && y < y1 - 46) text(x0 + 5, y - 4, named(value, "NS", parallels.digits));
    }
    const long = most((0.3 * (x1 - x0) * metres * width) / s.width);
    const px = (long * s.width) / (metres * width);
    drawn.push(`<path class="bar" d="M${x0 + 8} ${y1 - 34}v8h${px}v-8"/>`);
    text(x0 + 14, y1 - 31, long < 1000 ? `${long}\u202fm` : `${long / 1000}\u202fkm`);
    drawn.push(`<path class="north" d="M${x0 + 16} ${y0 + 8}l7 20l-7 -5l-7 5z"/>`);
    text(x0 + 16, y0 + 42, "N", "middle");
    graticule.innerHTML = drawn.join("");
  }

  const zoomer = window.L4S.zoomable(root, Math.max(8, (width * metres) / CLOSEST_M), annotate);
  new ResizeObserver(annotate).observe(frame);

  function show() {
    const layer = root.querySelector("[name=layer]:checked").value;
    for (const image of all("img[data-layer]")) image.hidden = image.dataset.layer !== layer;
    for (const list of all("[data-legend]")) list.hidden = list.dataset.legend !== layer;
    outlines.classList.toggle("off", !root.querySelector("[name=outlines]").checked);
  }
  for (const input of all("[name=layer], [name=outlines]")) input.addEventListener("change", show);
  show();

  /** Zoom to a landslide and mark it; its row is brought into sight in the list. */
  function choose(id) {
    const path = outlines.querySelector(`[data-id="${CSS.escape(id)}"]`);
    if (!path) return;
    for (const old of all(".chosen")) old.classList.remove("chosen");
    path.classList.add("chosen");
    outlines.append(path); // on top of its neighbours
    const box = path.getBBox();
    const one = sheet.clientWidth / zoomer.scale() / width; // of a pixel at scale 1
    const fit = Math.min(frame.clientWidth / box.width, frame.clientHeight / box.height);
    zoomer.to((0.3 * fit) / one, [(box.x + box.width / 2) / width, (box.y + box.height / 2) / height]);
    const link = root.querySelector(`a[href="#landslide=${CSS.escape(id)}"]`);
    part("chosen").textContent = `Landslide ${id}`;
    if (!link) return;
    const row = link.closest("tr");
    row.classList.add("chosen");
    const list = row.closest(".scroll");
    const head = list.querySelector("thead").clientHeight;
    const [r, l] = [row, list].map((e) => e.getBoundingClientRect());
    if (r.top < l.top + head) list.scrollTop -= l.top + head - r.top;
    else if (r.bottom > l.bottom) list.scrollTop += r.bottom - l.bottom;
    const cells = [...row.cells].slice(2);
    const heads = [...row.closest("table").tHead.rows[0].cells].slice(2);
    part("chosen").textContent = `Landslide ${id}: ${cells.map((cell, i) =>
      `${heads[i].textContent.trim()} ${cell.textContent.trim()}`).join("; ")}.`;
  }
  function goTo(id) {
    history.replaceState(null, "", `#landslide=${id}`);
    choose(id);
    part("frame").scrollIntoView({ block: "nearest" });
  }
  root.addEventListener("click", (e) => {
    const path = e.target.closest("path[data-id]");
    const row = e.target.closest("tbody tr");
    const link = row && row.querySelector('a[href^="#landslide="]');
    if (!path && !link) return;
    e.preventDefault();
    if (!dragged) goTo(path ? path.dataset.id : link.hash.split("=")[1]);
  });
  const asked = () => {
    const found = /^#landslide=(\d+)$/.exec(location.hash);
    if (found) choose(found[1]);
  };
  window.addEventListener("hashchange", asked);
  asked();

  // The hand moves the map; touch scrolls it as it scrolls anything.
  let held = null;
  let dragged = false;
  root.addEventListener("pointerdown", (e) => {
    dragged = false;
    if (e.pointerType !== "mouse" || e.button || !frame.contains(e.target)) return;
    held = [e.clientX, e.clientY, frame.scrollLeft, frame.scrollTop];
  });
  window.addEventListener("pointermove", (e) => {
    if (!held) return;
    const [dx, dy] = [e.clientX - held[0], e.clientY - held[1]];
    if (Math.abs(dx) + Math.abs(dy) > 4) dragged = true;
    if (dragged) frame.scrollTo(held[2] - dx, held[3] - dy);
  });
  window.addEventListener("pointerup", () => { held = null; });
  sheet.addEventListener("pointermove", (e) => {
    const [u, v] = zoomer.place(e);
    const [lon, lat] = degrees(u, v);
    const [x, y] = [geo.left + u * width * metres, geo.top - v * height * metres].map(Math.round);
    part("where").textContent =
      `${named(lat, "NS", 5)}, ${named(lon, "EW", 5)}; ${geo.crs}: ${x}, ${y}`;
  });
  sheet.addEventListener("dblclick", (e) => zoomer.to(2 * zoomer.scale(), zoomer.place(e)));
  frame.addEventListener("keydown", (e) => {
    const factor = { "+": 1.6, "=": 1.6, "-": 1 / 1.6, 0: 0 }[e.key];
    if (factor === undefined || e.altKey || e.ctrlKey || e.metaKey) return;
    e.preventDefault();
    zoomer.to(zoomer.scale() * factor);
  });
})();
