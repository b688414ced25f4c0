/* Pictures of scenes: a click on a tile leads to its place in the browser. */
"use strict";
for (const div of document.querySelectorAll("[data-scene]")) {
  const scene = JSON.parse(document.getElementById(div.dataset.scene).textContent);
  const at = (e) => {
    const box = div.querySelector("img").getBoundingClientRect();
    const row = Math.floor(((e.clientY - box.top) / box.height) * scene.rows);
    const col = Math.floor(((e.clientX - box.left) / box.width) * scene.cols);
    const inside = row >= 0 && col >= 0 && row < scene.rows && col < scene.cols;
    const n = inside ? row * scene.cols + col : -1;
    return { tile: scene.ids[n] ?? -1, page: scene.pages[scene.page[n] ?? -1] };
  };
  div.addEventListener("pointermove", (e) => {
    const { tile, page } = at(e);
    div.title = tile < 0 ? "" : `Tile ${tile}${page ? "" : ", not scored"}`;
    div.style.cursor = page ? "pointer" : "";
  });
  div.addEventListener("click", (e) => {
    const { tile, page } = at(e);
    if (page) location.href = `${page}#tile=${tile}`;
  });
}
