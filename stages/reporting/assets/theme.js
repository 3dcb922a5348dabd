// The button that switches between light and dark. The choice is remembered only until the page is closed.

/** Return the button. Until it is pressed, the page follows the reader's system. */
function makeThemeButton() {
  const root = document.documentElement;
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const button = make("button", { type: "button", class: "quiet theme no-print" });
  const describe = () => {
    button.textContent = dark() ? "Light" : "Dark";
    button.setAttribute("aria-label", dark() ? "Use light colours" : "Use dark colours");
  };
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    describe();
  });
  system.addEventListener("change", describe);
  describe();
  return button;
}
