// Asks for the page again when its theme has changed: figures are drawn by the server, for the theme at that time.

export default function ({ data, setStateValue }) {
  const app = document.querySelector("[data-testid=stApp]");
  app.dataset.drawn = data.drawn; // for who waits for it
  let asked = data.drawn;
  const look = () => {
    const now = getComputedStyle(app).colorScheme;
    if (now === asked) return;
    asked = now;
    setStateValue("theme", now);
  };
  const watching = new MutationObserver(look); // a theme is a class there
  watching.observe(app, { attributes: true, attributeFilter: ["class"] });
  look();
  return () => watching.disconnect();
}
