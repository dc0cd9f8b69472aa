(() => {
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const label = () => {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colours`);
  };
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("theorysim-theme", root.dataset.theme); } catch (error) { /* not remembered */ }
    label();
  });
  system.addEventListener("change", label);
  label();
  button.hidden = false;

  const stage = document.getElementById("stage");
  const picture = stage.querySelector("img");
  const caption = document.getElementById("stage-caption");
  for (const zoom of document.querySelectorAll("button.zoom")) {
    zoom.addEventListener("click", () => {
      const small = zoom.querySelector("img");
      picture.src = small.src;
      picture.alt = small.alt;
      picture.width = small.width;
      picture.style.setProperty("--ratio", small.getAttribute("width") / small.getAttribute("height"));
      caption.innerHTML = zoom.closest("figure").querySelector("figcaption").innerHTML;
      stage.showModal();
    });
  }
  // A click beside the picture closes, as Esc does; so does one on the picture itself.
  stage.addEventListener("click", (event) => {
    if (event.target === stage || event.target === picture) stage.close();
  });
})();
