/* Moves a threshold over counts by bin of probability. The sums are those of the run's own
   metrics, in the same order, so that the numbers are the same to the last digit. */
"use strict";
(function () {
  const EDGE = { left: 34, right: 12, top: 12, bottom: 22 };
  const DIGIT_PX = 7;

  const { NARROW, count, score, number, share, of100 } = window.L4S.words;
  const filled = (text, values) => text.replace(/\{(\w+)\}/g, (_, key) => values[key]);

  /** Pixels in this bin or a higher one. */
  function above(counts) {
    const out = new Float64Array(counts.length);
    for (let k = counts.length - 1, sum = 0; k >= 0; k -= 1) out[k] = sum += counts[k];
    return out;
  }

  /** Curves over all thresholds, landslide pixels weighted; `prevalence.f1_curve` in Python. */
  function curves(model, factor) {
    const real = model.tp[0], other = model.fp[0];
    const now = real / (real + other), wanted = factor * now;
    const weight = factor === 1 ? 1 : (wanted * (1 - now)) / (now * (1 - wanted));
    const n = model.tp.length;
    const out = { weight, wanted, f1: new Float64Array(n), best: 0 };
    for (const key of ["precision", "recall", "iou"]) out[key] = new Float64Array(n);
    for (let k = 0; k < n; k += 1) {
      const tp = weight * model.tp[k], fp = model.fp[k], all = weight * real;
      out.f1[k] = all + tp + fp > 0 ? (2 * tp) / (all + tp + fp) : 0;
      out.precision[k] = tp + fp > 0 ? tp / (tp + fp) : 1;
      out.recall[k] = real > 0 ? model.tp[k] / real : 0;
      out.iou[k] = all + fp > 0 ? tp / (all + fp) : 0;
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
    const { bins, told, pixel_km2: area } = data;
    const scored = Boolean(data.factors);
    const find = (selector) => block.querySelector(selector);
    const slider = find("#decide-threshold"), factorSlider = find("#decide-factor");
    const svg = find(".curves"), live = find(".unseen");
    const models = Object.fromEntries(data.models.map((m) => {
      const made = { ...m, used: Math.min(Math.round(m.threshold * bins), bins - 1) };
      if (scored) Object.assign(made, { tp: above(m.positive), fp: above(m.negative) });
      else made.called = above(m.all);
      return [m.model, made];
    }));
    let model = models[data.chosen], factor = 1, curve = null, later = 0;

    const edge = (k) => k / bins;
    const km2 = (pixels) => (area === null ? count(pixels) + " pixels"
      : number(pixels * area) + NARROW + "km²");
    function put(key, value, text) {
      const cell = find(`[data-key="${key}"]`);
      if (!cell) return;
      cell.textContent = text;
      cell.dataset.raw = String(value);
    }

    /* ---- numbers ---- */
    function counted(k) {
      const real = model.tp[0], other = model.fp[0];
      const less = factor === 1 ? 1 : (other + (1 - factor) * real) / other;
      const tp = factor * model.tp[k], fp = less * model.fp[k];
      return { called: tp + fp, tp, fp, fn: factor * (real - model.tp[k]), real: factor * real };
    }
    function show() {
      const k = Number(slider.value);
      const at = { threshold: score(edge(k)), model: model.name };
      let said, brief;
      if (scored) {
        const c = counted(k);
        for (const key of ["f1", "precision", "recall", "iou"]) {
          put(key, curve[key][k], score(curve[key][k]));
        }
        for (const [key, value] of Object.entries(c)) {
          put(key, value, count(value));
          if (area !== null) put(key + "_km2", value * area, number(value * area));
        }
        const first = c.called > 0 ? filled(told.at, { ...at, called: km2(c.called),
          precision: of100(curve.precision[k]), recall: of100(curve.recall[k]) })
          : filled(told.nothing, at);
        const best = { best: score(edge(curve.best)), f1_best: score(curve.f1[curve.best]),
          factor: number(factor), share: share(curve.wanted) };
        const used = curve.f1[model.used];
        const lost = curve.f1[curve.best] - used;
        said = [...(factor === 1 ? [] : [filled(told.suppose, best)]), first, filled(factor === 1 ? told.as_here : told.elsewhere, best),
          filled(lost < data.same ? told.as_good : told.lost, { in_use: score(model.threshold),
            f1_in_use: score(used), lost: score(lost) }),
          filled(told.plateau, { low: score(edge(curve.low)), high: score(edge(curve.high)) }),
        ].join(" ");
        brief = `F1 ${score(curve.f1[k])}, precision ${score(curve.precision[k])}, `
          + `recall ${score(curve.recall[k])}`;
        block.dataset.lost = String(lost);
        find(".best").textContent = `to the best (${score(edge(curve.best))})`;
        find(".best").disabled = k === curve.best;
      } else {
        const called = model.called[k], total = model.called[0];
        for (const [key, value] of [["called", called], ["total", total]]) {
          put(key, value, count(value));
          if (area !== null) put(key + "_km2", value * area, number(value * area));
        }
        said = filled(told.area, { ...at, called: km2(called), share: share(called / (total || 1)) });
        brief = `${km2(called)} called landslide`;
      }
      find(".said").textContent = said;
      find(".now").textContent = score(edge(k));
      slider.setAttribute("aria-valuetext", `${score(edge(k))}, ${brief}`);
      find(".back").textContent = `back to the one in use (${score(model.threshold)})`;
      find(".back").disabled = k === model.used;
      if (scored) {
        find(".times").textContent = `× ${number(factor)} (${share(curve.wanted)} of the pixels)`;
        factorSlider.setAttribute("aria-valuetext",
          `${number(factor)} times, ${share(curve.wanted)} of the pixels, ${brief}`);
      }
      place(k);
      clearTimeout(later);
      later = setTimeout(() => { if (live.textContent !== said && touched) live.textContent = said; }, 700);
    }

    /* ---- the plot ---- */
    let width = 0, height = 0, moving = null, touched = false;
    let left = EDGE.left;
    const x = (k) => left + ((width - left - EDGE.right) * k) / (bins - 1);
    const depth = () => height - EDGE.top - EDGE.bottom;
    const y = (v) => EDGE.top + depth() * (1 - v);
    const tag = (name, attributes, text) => {
      const made = document.createElementNS("http://www.w3.org/2000/svg", name);
      for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
      if (text !== undefined) made.textContent = text;
      return made;
    };
    const line = (name, a, b, c, d) => tag("line", { class: name, x1: a, y1: b, x2: c, y2: d });
    /** Lines of the plot: class, name, value at a bin between 0 and 1. */
    function lines() {
      if (scored) {
        return ["precision", "recall", "f1"].map((key) => (
          { key, name: key === "f1" ? "F1" : key, at: (k) => curve[key][k] }));
      }
      const top = Math.ceil(Math.log10(Math.max(model.called[0], 10)));
      return [{ key: "area", name: "called area", at: (k) => (
        model.called[k] > 0 ? Math.max(0, Math.log10(model.called[k])) / top : 0) }];
    }
    function yTicks() {
      if (scored) return [0, 0.2, 0.4, 0.6, 0.8, 1].map((v) => [v, v.toFixed(1)]);
      const top = Math.ceil(Math.log10(Math.max(model.called[0], 10)));
      return Array.from({ length: top + 1 }, (_, i) => [i / top,
        area === null ? count(10 ** i) : number(10 ** i * area)]);
    }
    function draw() {
      width = svg.clientWidth || 640;
      height = Math.round(Math.max(220, Math.min(330, width * 0.52)));
      svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
      svg.style.aspectRatio = `${width} / ${height}`;
      svg.replaceChildren();
      const ticks = yTicks();
      left = Math.max(EDGE.left, 10 + DIGIT_PX * Math.max(...ticks.map(([, text]) => text.length)));
      svg.closest(".drawn").style.setProperty("--left", `${left}px`);
      for (const [v, text] of ticks) {
        svg.append(line("grid", left, y(v), width - EDGE.right, y(v)),
          tag("text", { x: left - 6, y: y(v) + 4, "text-anchor": "end" }, text));
      }
      for (let v = 0; v <= 1.001; v += width < 420 ? 0.25 : 0.1) {
        const k = v * bins;
        if (k > bins) break;
        svg.append(tag("text", { x: x(Math.min(k, bins - 1)), y: height - 6, "text-anchor": "middle" },
          String(Number(v.toFixed(2)))));
      }
      if (!scored) svg.append(tag("text", { x: left, y: 9 }, area === null ? "pixels" : "km²"));
      if (scored) {
        svg.append(tag("rect", { class: "band", x: x(curve.low), y: EDGE.top, height: depth(),
          width: Math.max(x(curve.high) - x(curve.low), 1) }));
      }
      svg.append(line("used", x(model.used), EDGE.top, x(model.used), height - EDGE.bottom));
      const shown = lines();
      for (const one of shown) {
        const points = [];
        for (let k = 0; k < bins; k += 1) points.push(`${x(k).toFixed(1)},${y(one.at(k)).toFixed(1)}`);
        svg.append(tag("polyline", { class: one.key, points: points.join(" ") }));
      }
      if (scored) {
        const a = x(curve.best), b = y(curve.f1[curve.best]);
        svg.append(tag("path", { class: "diamond", d: `M${a} ${b - 7}l6 7-6 7-6-7z` }));
      }
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
      find(".slide .used").style.left = at(model.used);
      if (scored) {
        slider.style.setProperty("--track", `linear-gradient(to right, var(--rule) ${at(curve.low)}, `
          + `var(--stack) ${at(curve.low)}, var(--stack) ${at(curve.high)}, var(--rule) ${at(curve.high)})`);
      }
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
      const words = moving.shown.map((one) => (scored ? `${one.name} ${score(one.at(k))}`
        : `${one.name} ${km2(model.called[k])}`)).join(", ");
      svg.setAttribute("aria-label", `At ${score(edge(k))}: ${words}`);
    }

    /* ---- what a reader does ---- */
    function renew() {
      curve = scored ? curves(model, factor) : null;
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
    if (scored) {
      find(".best").addEventListener("click", () => moveTo(curve.best));
      const real = models[data.chosen].tp[0], other = models[data.chosen].fp[0];
      const most = Math.log2((0.99 * (real + other)) / real);
      if (!(real > 0 && other > 0)) factorSlider.disabled = true;
      factorSlider.addEventListener("input", () => {
        factorSlider.value = String(Math.min(Number(factorSlider.value), most));
        factor = 2 ** Number(factorSlider.value);
        touched = true;
        renew();
      });
    }
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
