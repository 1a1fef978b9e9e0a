// Build the live figures of this page.
"use strict";
for (const box of document.querySelectorAll(".live[data-figure]")) {
  dcgmm.frame(box, dcgmm.figures[box.dataset.figure]);
}
