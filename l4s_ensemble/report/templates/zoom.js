/* Zoom by size: the sheet becomes larger and its frame scrolls, as the browser scrolls anything. */
"use strict";
(function () {
  const L4S = (window.L4S = window.L4S || {});

  /* root: holds the frame, the sheet in it (data-part) and buttons (data-zoom: a factor, 0 for the
     whole). most: the largest scale. changed(): the scale or the place was changed. */
  L4S.zoomable = (root, most, changed = () => {}) => {
    const frame = root.querySelector('[data-part="frame"]');
    const sheet = root.querySelector('[data-part="sheet"]');
    let scale = 1;
    const centre = () => [
      (frame.scrollLeft + frame.clientWidth / 2) / sheet.clientWidth,
      (frame.scrollTop + frame.clientHeight / 2) / sheet.clientHeight,
    ];
    function to(wanted, [u, v] = centre()) {
      scale = Math.min(most, Math.max(1, wanted));
      sheet.style.setProperty("--zoom", scale);
      frame.scrollTo(u * sheet.clientWidth - frame.clientWidth / 2,
        v * sheet.clientHeight - frame.clientHeight / 2);
      changed();
    }
    for (const button of root.querySelectorAll("[data-zoom]")) {
      button.addEventListener("click", () => to(scale * Number(button.dataset.zoom)));
    }
    frame.addEventListener("scroll", changed, { passive: true });
    return {
      to,
      centre,
      scale: () => scale,
      // Place on the sheet, 0 to 1 each way, under the pointer.
      place: (e) => {
        const box = sheet.getBoundingClientRect();
        return [(e.clientX - box.left) / box.width, (e.clientY - box.top) / box.height];
      },
    };
  };
})();
