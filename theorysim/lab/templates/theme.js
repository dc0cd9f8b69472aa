// Before the first paint, so that a remembered choice does not flash.
(() => {
  let kept = null;
  try { kept = localStorage.getItem("theorysim-theme"); } catch (error) { /* storage is off for files */ }
  if (kept === "dark" || kept === "light") document.documentElement.dataset.theme = kept;
})();
