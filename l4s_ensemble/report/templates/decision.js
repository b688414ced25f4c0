/* Moves a threshold over counts by bin of probability. The sums are those of the run's own
   metrics, in the same order, so that the numbers are the same to the last digit. */
"use strict";
(function () {
  const EDGE = { left: 34, right: 12, top: 12, bottom: 22 };

  const { NARROW, count, score, number, of100 } = window.L4S.words;
  const filled = (text, values) => text.replace(/\{(\w+)\}/g, (_, key) => values[key]);

  /** Pixels in this bin or a higher one. */
  function above(counts) {
    const out = new Float64Array(counts.length);
    for (let k = counts.length - 1, sum = 0; k >= 0; k -= 1) out[k] = sum += counts[k];
    return out;
  }

  /** Curves over all thresholds; `ScoreHistogram.curve` and `.best` in Python. */
  function curves(model) {
    const real = model.tp[0], n = model.tp.length;
    const out = { f1: new Float64Array(n), best: 0 };
    for (const key of ["precision", "recall", "iou"]) out[key] = new Float64Array(n);
    for (let k = 0; k < n; k += 1) {
      const tp = model.tp[k], fp = model.fp[k];
      out.f1[k] = real + tp + fp > 0 ? (2 * tp) / (real + tp + fp) : 0;
      out.precision[k] = tp + fp > 0 ? tp / (tp + fp) : 1;
      out.recall[k] = real > 0 ? tp / real : 0;
      out.iou[k] = real + fp > 0 ? tp / (real + fp) : 0;
      if (out.f1[k] > out.f1[out.best]) out.best = k;
    }
    const good = out.f1[out.best] - 0.01;
    out.low = out.high = out.best;
    while (out.low > 0 && out.f1[out.low - 1] >= good) out.low -= 1;
    while (out.high + 1 < n && out.f1[out.high + 1] >= good) out.high += 1;
    return out;
  }

  function start(block) {
    const data = JSON.parse(document.getElementById(block.dataset.decide).textContent);
    const { bins, sentences, pixel_km2: area } = data;
    const find = (selector) => block.querySelector(selector);
    const slider = find("#decide-threshold");
    const svg = find(".curves"), live = find(".unseen");
    const models = Object.fromEntries(data.models.map((m) => {
      const used = Math.min(Math.round(m.threshold * bins), bins - 1);
      return [m.model, { ...m, used, tp: above(m.positive), fp: above(m.negative) }];
    }));
    let model = models[data.chosen], curve = null, later = 0;

    const edge = (k) => k / bins;
    const km2 = (pixels) => number(pixels * area) + NARROW + "km²";
    function put(key, value, text) {
      const cell = find(`[data-key="${key}"]`);
      if (!cell) return;
      cell.textContent = text;
      cell.dataset.raw = String(value);
    }

    /* ---- numbers ---- */
    function counted(k) {
      const real = model.tp[0], tp = model.tp[k], fp = model.fp[k];
      return { predicted: tp + fp, tp, fp, fn: real - tp, real };
    }
    function show() {
      const k = Number(slider.value);
      const at = { threshold: score(edge(k)), model: model.name };
      const c = counted(k);
      for (const key of ["f1", "precision", "recall", "iou"]) {
        put(key, curve[key][k], score(curve[key][k]));
      }
      for (const [key, value] of Object.entries(c)) {
        put(key, value, count(value));
        put(key + "_km2", value * area, number(value * area));
      }
      const first = c.predicted > 0 ? filled(sentences.at, { ...at, predicted: km2(c.predicted),
        precision: of100(curve.precision[k]), recall: of100(curve.recall[k]) })
        : filled(sentences.nothing, at);
      const best = { best: score(edge(curve.best)), f1_best: score(curve.f1[curve.best]) };
      const used = curve.f1[model.used];
      const lost = curve.f1[curve.best] - used;
      const said = [first, filled(sentences.as_here, best),
        filled(lost < data.same ? sentences.as_good : sentences.lost, { in_use: score(model.threshold),
          f1_in_use: score(used), lost: score(lost) }),
        filled(sentences.plateau, { low: score(edge(curve.low)), high: score(edge(curve.high)) }),
      ].join(" ");
      const brief = `F1 ${score(curve.f1[k])}, precision ${score(curve.precision[k])}, `
        + `recall ${score(curve.recall[k])}`;
      find(".best").textContent = `to the best (${score(edge(curve.best))})`;
      find(".best").disabled = k === curve.best;
      find(".said").textContent = said;
      find(".now").textContent = score(edge(k));
      slider.setAttribute("aria-valuetext", `${score(edge(k))}, ${brief}`);
      find(".back").textContent = `back to the one in use (${score(model.threshold)})`;
      find(".back").disabled = k === model.used;
      place(k);
      clearTimeout(later);
      later = setTimeout(() => { if (live.textContent !== said && touched) live.textContent = said; }, 700);
    }

    /* ---- the plot ---- */
    let width = 0, height = 0, moving = null, touched = false;
    const x = (k) => EDGE.left + ((width - EDGE.left - EDGE.right) * k) / (bins - 1);
    const depth = () => height - EDGE.top - EDGE.bottom;
    const y = (v) => EDGE.top + depth() * (1 - v);
    const tag = (name, attributes, text) => {
      const made = document.createElementNS("http://www.w3.org/2000/svg", name);
      for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
      if (text !== undefined) made.textContent = text;
      return made;
    };
    const line = (name, a, b, c, d) => tag("line", { class: name, x1: a, y1: b, x2: c, y2: d });
    /** Lines of the plot: class, name, value at a bin. */
    const lines = () => ["precision", "recall", "f1"].map((key) => (
      { key, name: key === "f1" ? "F1" : key, at: (k) => curve[key][k] }));
    function draw() {
      width = svg.clientWidth || 640;
      height = Math.round(Math.max(220, Math.min(330, width * 0.52)));
      svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
      svg.style.aspectRatio = `${width} / ${height}`;
      svg.replaceChildren();
      for (const v of [0, 0.2, 0.4, 0.6, 0.8, 1]) {
        svg.append(line("grid", EDGE.left, y(v), width - EDGE.right, y(v)),
          tag("text", { x: EDGE.left - 6, y: y(v) + 4, "text-anchor": "end" }, v.toFixed(1)));
      }
      for (let v = 0; v <= 1.001; v += width < 420 ? 0.25 : 0.1) {
        const k = v * bins;
        if (k > bins) break;
        svg.append(tag("text", { x: x(Math.min(k, bins - 1)), y: height - 6, "text-anchor": "middle" },
          String(Number(v.toFixed(2)))));
      }
      svg.append(tag("rect", { class: "band", x: x(curve.low), y: EDGE.top, height: depth(),
        width: Math.max(x(curve.high) - x(curve.low), 1) }));
      svg.append(line("used", x(model.used), EDGE.top, x(model.used), height - EDGE.bottom));
      const shown = lines();
      for (const one of shown) {
        const points = [];
        for (let k = 0; k < bins; k += 1) points.push(`${x(k).toFixed(1)},${y(one.at(k)).toFixed(1)}`);
        svg.append(tag("polyline", { class: one.key, points: points.join(" ") }));
      }
      const a = x(curve.best), b = y(curve.f1[curve.best]);
      svg.append(tag("path", { class: "diamond", d: `M${a} ${b - 7}l6 7-6 7-6-7z` }));
      moving = { line: line("at", 0, EDGE.top, 0, height - EDGE.bottom), dots: shown.map((one) => (
        tag("circle", { class: one.key, r: 5 }))), shown };
      svg.append(moving.line, ...moving.dots);
      find(".keys").replaceChildren(...shown.slice().reverse().map((one) => {
        const item = document.createElement("li");
        const key = tag("svg", { viewBox: "0 0 26 9" });
        key.append(line(one.key, 1, 4.5, 25, 4.5));
        item.append(key, one.name);
        return item;
      }));
      const at = (k) => `calc(10px + (100% - 20px) * ${k / (bins - 1)})`;
      find(".slider .used").style.left = at(model.used);
      slider.style.setProperty("--track", `linear-gradient(to right, var(--rule) ${at(curve.low)}, `
        + `var(--stack) ${at(curve.low)}, var(--stack) ${at(curve.high)}, var(--rule) ${at(curve.high)})`);
      place(Number(slider.value));
    }
    function place(k) {
      if (!moving) return;
      moving.line.setAttribute("x1", x(k));
      moving.line.setAttribute("x2", x(k));
      moving.dots.forEach((dot, i) => {
        dot.setAttribute("cx", x(k));
        dot.setAttribute("cy", y(moving.shown[i].at(k)));
      });
      const words = moving.shown.map((one) => `${one.name} ${score(one.at(k))}`).join(", ");
      svg.setAttribute("aria-label", `At ${score(edge(k))}: ${words}`);
    }

    /* ---- what a reader does ---- */
    function renew() {
      curve = curves(model);
      draw();
      show();
    }
    function moveTo(k) {
      slider.value = String(Math.max(0, Math.min(bins - 1, Math.round(k))));
      touched = true;
      show();
    }
    slider.addEventListener("input", () => { touched = true; show(); });
    find(".back").addEventListener("click", () => moveTo(model.used));
    find(".best").addEventListener("click", () => moveTo(curve.best));
    block.querySelectorAll('input[name="decide-model"]').forEach((radio) => {
      radio.addEventListener("change", () => {
        model = models[radio.value];
        slider.value = String(model.used);
        touched = true;
        renew();
      });
    });
    find(".controls").hidden = false;
    find("details").open = false;
    slider.value = String(model.used);
    renew();
    new ResizeObserver(() => { if (svg.clientWidth && svg.clientWidth !== width) draw(); }).observe(svg);
  }

  document.querySelectorAll("[data-decide]").forEach(start);
})();
