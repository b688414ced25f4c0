/* The large tile: two layers, blended or with a divider between them, zoom, and the crosshair. */
"use strict";
(function () {
  const L4S = window.L4S;
  const MOST_ZOOM = 24;

  /* root: the element that holds the stage. state: what is shown, shared with the page.
     changed(): the state was changed here. looked(pixel, why): a pixel is looked at, by 'pointer',
     'keys' or 'back' (the pointer has left). */
  L4S.stage = (root, state, { changed, looked }) => {
    const $ = (name) => root.querySelector(`[data-part="${name}"]`);
    const frame = $("frame");
    const [under, over, lines] = ["under", "over", "lines"].map($);
    const [divider, cross, mix] = ["divider", "cross", "mix"].map($);
    const layers = L4S.layers();
    const byKey = Object.fromEntries(layers.map((l) => [l.key, l]));
    const size = () => L4S.told.size;
    let shown = null; // {tile, photos}
    let dragging = false;
    let hover = null;
    let zoomer = null;

    zoomer = L4S.panZoom(frame, [under, over.firstElementChild, lines], {
      aspect: () => size()[1] / size()[0],
      most: () => MOST_ZOOM,
      wheel: (e) => e.ctrlKey || document.activeElement === frame,
      claims: (e) => divider.contains(e.target),
      changed: (view) => {
        const [u, v] = zoomer ? zoomer.centre() : [0.5, 0.5];
        state.zoom = view.scale > 1.001 ? [view.scale, u, v] : null;
        placeCross();
        if (zoomer) changed();
      },
      tapped: (e) => {
        frame.focus({ preventScroll: true });
        const pixel = underPointer(e);
        if (pixel) pin(pixel, "pointer");
      },
    });

    function underPointer(e) {
      const [u, v] = zoomer.place(e);
      const [height, width] = size();
      const [y, x] = [Math.floor(v * height), Math.floor(u * width)];
      return y >= 0 && x >= 0 && y < height && x < width ? [y, x] : null;
    }

    function pin(pixel, why) {
      state.pixel = pixel;
      placeCross();
      looked(pixel, why);
      changed();
    }

    // The crosshair is drawn in the frame, so that its lines do not grow with the zoom.
    function placeCross() {
      if (!zoomer) return;
      const { view } = zoomer;
      const [height, width] = size();
      const one = (view.width * view.scale) / width;
      const edge = Math.max(one, 9);
      const [y, x] = hover || state.pixel;
      const left = view.x + (x + 0.5) * one;
      const top = view.y + ((y + 0.5) * view.height * view.scale) / height;
      cross.style.cssText = `width:${edge}px;height:${edge}px;`
        + `transform:translate(${left - edge / 2}px, ${top - edge / 2}px)`;
    }

    function placeDivider() {
      const swipe = state.mode === "swipe";
      divider.hidden = !swipe;
      divider.style.left = `${state.mix}%`;
      over.style.clipPath = swipe ? `inset(0 0 0 ${state.mix}%)` : "none";
      over.style.opacity = swipe ? 1 : state.mix / 100;
      mix.value = state.mix;
      $("mix-name").textContent = swipe ? "Divider" : "Share of the second layer";
      $("mix-value").textContent = `${Math.round(state.mix)}\u202f%`;
      for (const radio of root.querySelectorAll('[name="mode"]')) {
        radio.checked = radio.value === state.mode;
      }
    }

    function legend(box, layer) {
      box.replaceChildren();
      const add = (text, css, ramp) => {
        const item = document.createElement("li");
        const mark = document.createElement("i");
        mark.style.background = css;
        if (ramp) mark.className = "ramp";
        item.append(...(ramp ? [text[0], mark, text[1]] : [mark, text]));
        box.append(item);
      };
      if (layer.palette === "probability") add(["0 ", "1"], L4S.css.ramp("probability"), true);
      if (layer.palette === "doubt") add(["0, sure ", "1"], L4S.css.ramp("doubt"), true);
      if (layer.marks === "truth") add("landslide in truth", L4S.css.colour("found"));
      if (layer.marks === "called") add("called landslide", L4S.css.colour("false"));
      if (layer.marks === "errors") {
        add("found", L4S.css.colour("found"));
        add("missed", L4S.css.colour("missed"));
        add("false alarm", L4S.css.colour("false"));
      }
      const note = layer.key === "doubt" ? L4S.told.doubt : layer.note;
      if (note) box.append(Object.assign(document.createElement("li"), { textContent: note }));
    }

    function called() {
      return L4S.calledAt(shown.tile, state.cut);
    }

    function draw() {
      if (!shown) return;
      const [left, right] = [byKey[state.left], byKey[state.right]];
      const on = called();
      L4S.draw(under, left, shown.photos, shown.tile, on);
      L4S.draw(over.firstElementChild, right, shown.photos, shown.tile, on);
      const wanted = [];
      if (state.lines.includes("truth") && L4S.told.has_truth) {
        wanted.push({ mask: shown.tile.truth, colour: L4S.css.colour("found") });
      }
      if (state.lines.includes("called")) {
        wanted.push({ mask: on, colour: L4S.css.colour("false") });
      }
      lines.hidden = !wanted.length;
      if (wanted.length) L4S.drawLines(lines, wanted);
      legend($("legend-left"), left);
      legend($("legend-right"), right);
    }

    function sync() {
      for (const side of ["left", "right"]) $(side).value = state[side];
      for (const box of root.querySelectorAll('[name="lines"]')) {
        box.checked = state.lines.includes(box.value);
      }
      placeDivider();
      placeCross();
      draw();
    }

    for (const side of ["left", "right"]) {
      $(side).replaceChildren(...layers.map((l) => new Option(l.label, l.key)));
      $(side).addEventListener("change", () => {
        state[side] = $(side).value;
        draw();
        changed();
      });
    }
    $("swap").addEventListener("click", () => {
      [state.left, state.right] = [state.right, state.left];
      sync();
      changed();
    });
    root.querySelectorAll('[name="mode"]').forEach((radio) => radio.addEventListener("change", () => {
      state.mode = radio.value;
      placeDivider();
      changed();
    }));
    root.querySelectorAll('[name="lines"]').forEach((box) => box.addEventListener("change", () => {
      state.lines = [...root.querySelectorAll('[name="lines"]:checked')].map((b) => b.value);
      draw();
      changed();
    }));
    const mixed = (value) => {
      state.mix = Math.min(100, Math.max(0, value));
      placeDivider();
      changed();
    };
    mix.addEventListener("input", () => mixed(Number(mix.value)));
    divider.addEventListener("pointerdown", (e) => {
      dragging = true;
      divider.setPointerCapture(e.pointerId);
      e.preventDefault();
    });
    divider.addEventListener("pointermove", (e) => {
      if (!dragging) return;
      const box = frame.getBoundingClientRect();
      mixed((100 * (e.clientX - box.left)) / box.width);
    });
    for (const kind of ["pointerup", "pointercancel"]) {
      divider.addEventListener(kind, () => { dragging = false; });
    }

    frame.addEventListener("pointermove", (e) => {
      if (e.pointerType === "touch" || dragging) return;
      const pixel = underPointer(e);
      if (!pixel || (hover && pixel[0] === hover[0] && pixel[1] === hover[1])) return;
      hover = pixel;
      placeCross();
      looked(pixel, "pointer");
    });
    frame.addEventListener("pointerleave", () => {
      if (!hover) return;
      hover = null;
      placeCross();
      looked(state.pixel, "back");
    });
    frame.addEventListener("keydown", (e) => {
      if (e.altKey || e.ctrlKey || e.metaKey) return;
      const by = e.shiftKey ? 8 : 1;
      const move = {
        ArrowUp: [-by, 0], ArrowDown: [by, 0], ArrowLeft: [0, -by], ArrowRight: [0, by],
      }[e.key];
      const scale = { "+": 1.5, "=": 1.5, "-": 1 / 1.5 }[e.key];
      if (!move && !scale && e.key !== "0") return;
      e.preventDefault();
      hover = null;
      if (move) {
        const within = (v, n) => Math.min(n - 1, Math.max(0, v));
        const [height, width] = size();
        const [y, x] = [within(state.pixel[0] + move[0], height), within(state.pixel[1] + move[1], width)];
        pin([y, x], "keys");
        if (zoomer.view.scale > 1) follow();
      } else if (scale) zoomer.lookAt(...middleOf(state.pixel), zoomer.view.scale * scale);
      else zoomer.reset();
    });
    const middleOf = ([y, x]) => [(x + 0.5) / size()[1], (y + 0.5) / size()[0]];
    function follow() {
      const { view } = zoomer;
      const [u, v] = middleOf(state.pixel);
      const [px, py] = [view.x + u * view.width * view.scale, view.y + v * view.height * view.scale];
      const rim = 24;
      if (px < rim || py < rim || px > view.box.width - rim || py > view.box.height - rim) {
        zoomer.lookAt(u, v, view.scale);
      }
    }
    $("zoom-in").addEventListener("click", () => zoomer.zoom(1.6));
    $("zoom-out").addEventListener("click", () => zoomer.zoom(1 / 1.6));
    $("zoom-fit").addEventListener("click", () => zoomer.reset());

    return {
      draw,
      sync,
      called,
      show: (tile, photos) => { shown = { tile, photos }; hover = null; sync(); },
      restore: () => {
        if (state.zoom) zoomer.lookAt(state.zoom[1], state.zoom[2], state.zoom[0]);
        else zoomer.reset();
      },
    };
  };
})();
