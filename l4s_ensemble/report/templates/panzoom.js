/* Zoom and pan of something in a frame: wheel, pinch, drag, buttons and keys all end here. */
"use strict";
(function () {
  const L4S = (window.L4S = window.L4S || {});

  /* frame: the element that clips. contents: elements moved together, as large as the frame allows
     at the given aspect (width / height). wheel(event): whether a turn of the wheel zooms.
     claims(event): whether a press belongs to something else in the frame. changed(view): told
     after every move. tapped(event): a press without a move. */
  L4S.panZoom = (frame, contents, { aspect, most, wheel, claims, changed, tapped }) => {
    const view = { scale: 1, x: 0, y: 0, left: 0, top: 0, width: 1, height: 1 };
    const fingers = new Map();
    let moved = 0;

    function measure() {
      const box = frame.getBoundingClientRect();
      view.width = Math.min(box.width, box.height * aspect());
      view.height = view.width / aspect();
      view.left = (box.width - view.width) / 2;
      view.top = (box.height - view.height) / 2;
      view.box = box;
      for (const c of contents) {
        c.style.width = `${view.width}px`;
        c.style.height = `${view.height}px`;
      }
    }

    // What is smaller than the frame stays in its middle; nothing else may leave a gap at its rim.
    function bounded(at, size, room) {
      if (size <= room) return (room - size) / 2;
      return Math.min(0, Math.max(room - size, at));
    }

    function apply() {
      view.scale = Math.min(most(), Math.max(1, view.scale));
      const [w, h] = [view.width * view.scale, view.height * view.scale];
      view.x = bounded(view.x, w, view.box.width);
      view.y = bounded(view.y, h, view.box.height);
      for (const c of contents) {
        c.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
      }
      frame.classList.toggle("zoomed", view.scale > 1.001);
      changed(view);
    }

    function zoomAt(factor, px, py) {
      const scale = Math.min(most(), Math.max(1, view.scale * factor));
      view.x = px - ((px - view.x) * scale) / view.scale;
      view.y = py - ((py - view.y) * scale) / view.scale;
      view.scale = scale;
      apply();
    }

    const middle = () => [view.box.width / 2, view.box.height / 2];
    const inside = (e) => [e.clientX - view.box.left, e.clientY - view.box.top];

    function pair() {
      const [a, b] = [...fingers.values()];
      return { x: (a[0] + b[0]) / 2, y: (a[1] + b[1]) / 2, d: Math.hypot(a[0] - b[0], a[1] - b[1]) };
    }

    frame.addEventListener("pointerdown", (e) => {
      if (e.button !== 0 || (claims && claims(e))) return;
      view.box = frame.getBoundingClientRect();
      fingers.set(e.pointerId, inside(e));
      moved = fingers.size > 1 ? 99 : 0;
    });
    frame.addEventListener("pointermove", (e) => {
      const before = fingers.get(e.pointerId);
      if (!before) return;
      const now = inside(e);
      moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
      if (moved > 4 && !frame.hasPointerCapture(e.pointerId)) frame.setPointerCapture(e.pointerId);
      if (fingers.size === 2) {
        const was = pair();
        fingers.set(e.pointerId, now);
        const is = pair();
        view.x += is.x - was.x;
        view.y += is.y - was.y;
        zoomAt(is.d / Math.max(was.d, 1), is.x, is.y);
        return;
      }
      fingers.set(e.pointerId, now);
      if (moved > 4 && view.scale > 1) {
        view.x += now[0] - before[0];
        view.y += now[1] - before[1];
        apply();
      }
    });
    for (const kind of ["pointerup", "pointercancel"]) {
      frame.addEventListener(kind, (e) => {
        if (fingers.delete(e.pointerId) && kind === "pointerup" && moved <= 4 && tapped) tapped(e);
      });
    }
    frame.addEventListener("wheel", (e) => {
      if (!wheel(e)) return;
      e.preventDefault();
      view.box = frame.getBoundingClientRect();
      const turn = e.deltaMode === 1 ? 16 * e.deltaY : e.deltaY;
      zoomAt(Math.exp(-turn * (e.ctrlKey ? 0.01 : 0.0018)), ...inside(e));
    }, { passive: false });

    // The place that was in the middle stays there when the frame changes its size.
    function resized() {
      const [u, v] = centre();
      measure();
      lookAt(u, v, view.scale);
    }
    function centre() {
      if (!view.box) return [0.5, 0.5];
      const [mx, my] = middle();
      return [
        (mx - view.x) / (view.width * view.scale), (my - view.y) / (view.height * view.scale),
      ];
    }
    function lookAt(u, v, scale) {
      view.scale = Math.min(most(), Math.max(1, scale));
      const [mx, my] = middle();
      view.x = mx - u * view.width * view.scale;
      view.y = my - v * view.height * view.scale;
      apply();
    }
    measure();
    new ResizeObserver(resized).observe(frame);
    apply();

    return {
      view,
      centre,
      lookAt,
      resized,
      zoom: (factor) => zoomAt(factor, ...middle()),
      pan: (dx, dy) => { view.x -= dx; view.y -= dy; apply(); },
      reset: () => lookAt(0.5, 0.5, 1),
      // Place on the contents, 0 to 1 each way, under a point of the window.
      place: (e) => {
        const box = frame.getBoundingClientRect();
        return [
          (e.clientX - box.left - view.x) / (view.width * view.scale),
          (e.clientY - box.top - view.y) / (view.height * view.scale),
        ];
      },
    };
  };
})();
