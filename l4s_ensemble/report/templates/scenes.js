/* A scene to zoom into: opens the mosaics of the data page; a click on a tile leads to it. */
"use strict";
(function () {
  const dialog = document.querySelector("dialog.viewer");
  if (!dialog) return;
  const $ = (name) => dialog.querySelector(`[data-part="${name}"]`);
  const [sheet, pick, picture] = ["sheet", "pick", "picture"].map($);
  let scene = null;
  const zoomer = window.L4S.zoomable(dialog, 30);
  $("close").addEventListener("click", () => dialog.close());

  // The tile under the pointer becomes a link to its place in the browser.
  function point(e) {
    const [u, v] = zoomer.place(e);
    const [row, col] = [Math.floor(v * scene.rows), Math.floor(u * scene.cols)];
    if (row < 0 || col < 0 || row >= scene.rows || col >= scene.cols) return;
    const at = row * scene.cols + col;
    const tile = scene.grid.ids[at];
    const page = scene.grid.links ? scene.grid.links.page[at] : -1;
    pick.style.cssText = `left:${(100 * col) / scene.cols}%;top:${(100 * row) / scene.rows}%;`
      + `width:${100 / scene.cols}%;height:${100 / scene.rows}%`;
    if (page >= 0) pick.href = `${scene.grid.links.pages[page]}#tile=${tile}`;
    else pick.removeAttribute("href");
    const place = `row ${scene.grid.row + row}, column ${scene.grid.col + col}`;
    $("said").textContent = tile < 0 ? `No tile at ${place}.`
      : `Tile ${tile}, ${place}${page >= 0 ? "" : ": not scored"}.`;
  }
  sheet.addEventListener("pointermove", point);
  sheet.addEventListener("pointerdown", point);

  for (const link of document.querySelectorAll("a[data-grid]")) {
    link.addEventListener("click", (e) => {
      if (e.ctrlKey || e.metaKey || e.shiftKey) return;
      e.preventDefault();
      scene = JSON.parse(document.getElementById(link.dataset.grid).textContent);
      $("title").textContent = link.closest("figure").querySelector("h3").textContent;
      $("said").textContent = "";
      picture.src = link.href;
      sheet.style.setProperty("--aspect", scene.cols / scene.rows);
      pick.removeAttribute("href");
      pick.style.cssText = "";
      dialog.showModal();
      zoomer.to(1);
    });
  }
})();
