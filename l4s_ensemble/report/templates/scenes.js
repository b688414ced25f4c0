/* A scene to zoom into: opens the mosaics of the data page; a click on a tile leads to it. */
"use strict";
(function () {
  const L4S = window.L4S;
  const links = Array.from(document.querySelectorAll("a[data-grid]"));
  if (!links.length || !window.HTMLDialogElement) return;

  const make = (tag, name, text) => {
    const e = document.createElement(tag);
    if (name) e.className = name;
    if (text) e.textContent = text;
    return e;
  };
  const button = (text, label, act) => {
    const e = make("button", "", text);
    e.type = "button";
    e.setAttribute("aria-label", label);
    e.addEventListener("click", act);
    return e;
  };

  const dialog = make("dialog", "viewer");
  dialog.setAttribute("aria-labelledby", "viewer-title");
  const title = make("h2");
  title.id = "viewer-title";
  const said = make("p", "said");
  said.setAttribute("aria-live", "polite");
  const ground = make("div", "ground");
  ground.tabIndex = 0;
  ground.setAttribute("role", "application");
  ground.setAttribute("aria-roledescription", "map of tiles");
  ground.setAttribute("aria-label", "The scene. Arrow keys choose a tile, Enter opens it; plus, minus and zero zoom.");
  const sheet = make("div", "lie");
  const picture = make("img");
  picture.alt = "";
  const pick = make("i");
  sheet.append(picture, pick);
  ground.append(sheet);
  const head = make("header");
  const tools = make("div", "tools");
  tools.append(
    button("+", "Closer", () => zoomer.zoom(1.6)), button("\u2212", "Farther", () => zoomer.zoom(1 / 1.6)),
    button("\u2922", "Whole scene", () => zoomer.reset()), button("\u2715", "Close", () => dialog.close()),
  );
  head.append(title, said, tools);
  dialog.append(head, ground);
  document.body.append(dialog);

  let scene = null;
  let cell = [0, 0];
  let zoomer = null;

  const at = ([row, col]) => row * scene.cols + col;
  const id = (where) => scene.grid.ids[at(where)];
  function address(where) {
    const found = scene.grid.links;
    const page = found ? found.page[at(where)] : -1;
    return page >= 0 ? `${found.pages[page]}#tile=${id(where)}` : null;
  }

  function choose(where) {
    cell = where;
    const [row, col] = where;
    pick.style.cssText = `left:${(100 * col) / scene.cols}%;top:${(100 * row) / scene.rows}%;`
      + `width:${100 / scene.cols}%;height:${100 / scene.rows}%`;
    const place = `row ${scene.grid.row + row}, column ${scene.grid.col + col}`;
    const tile = id(where);
    if (tile < 0) said.textContent = `No tile at ${place}.`;
    else if (address(where)) said.textContent = `Tile ${tile}, ${place}. Click or Enter opens it.`;
    else said.textContent = `Tile ${tile}, ${place}: not scored.`;
    ground.classList.toggle("leads", Boolean(address(where)));
  }

  function under(e) {
    const [u, v] = zoomer.place(e);
    const where = [Math.floor(v * scene.rows), Math.floor(u * scene.cols)];
    const inside = where[0] >= 0 && where[1] >= 0 && where[0] < scene.rows && where[1] < scene.cols;
    return inside ? where : null;
  }

  function open() {
    const found = address(cell);
    if (found) location.href = found;
  }

  function show(link) {
    scene = JSON.parse(document.getElementById(link.dataset.grid).textContent);
    const figure = link.closest("figure");
    title.textContent = figure.querySelector("h3").textContent;
    const small = link.querySelector("img");
    picture.src = small.src; // what is there already, until the larger one has come
    picture.src = link.href;
    dialog.showModal();
    if (!zoomer) {
      zoomer = L4S.panZoom(ground, [sheet], {
        aspect: () => scene.cols / scene.rows,
        most: () => Math.max(6, scene.cols / 2, scene.rows / 2),
        wheel: () => true,
        changed: (view) => sheet.style.setProperty("--thin", 1 / view.scale),
        tapped: (e) => {
          const where = under(e);
          if (!where) return;
          choose(where);
          open();
        },
      });
    } else {
      zoomer.resized();
      zoomer.reset();
    }
    choose([Math.floor(scene.rows / 2), Math.floor(scene.cols / 2)]);
    ground.focus();
  }

  ground.addEventListener("pointermove", (e) => {
    const where = under(e);
    if (where && String(where) !== String(cell)) choose(where);
  });
  ground.addEventListener("keydown", (e) => {
    if (e.altKey || e.ctrlKey || e.metaKey) return;
    const step = {
      ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1],
    }[e.key];
    const scale = { "+": 1.5, "=": 1.5, "-": 1 / 1.5 }[e.key];
    if (step) {
      const within = (v, n) => Math.min(n - 1, Math.max(0, v));
      choose([within(cell[0] + step[0], scene.rows), within(cell[1] + step[1], scene.cols)]);
      if (zoomer.view.scale > 1) zoomer.lookAt(...middle(), zoomer.view.scale);
    } else if (scale) zoomer.lookAt(...middle(), zoomer.view.scale * scale);
    else if (e.key === "0") zoomer.reset();
    else if (e.key === "Enter") open();
    else return;
    e.preventDefault();
  });
  const middle = () => [(cell[1] + 0.5) / scene.cols, (cell[0] + 0.5) / scene.rows];

  for (const link of links) {
    link.addEventListener("click", (e) => {
      if (e.ctrlKey || e.metaKey || e.shiftKey) return;
      e.preventDefault();
      show(link);
    });
  }
})();
