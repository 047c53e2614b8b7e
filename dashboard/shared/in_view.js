// Says the words of each call once, and scrolls to its place where that is asked for. Which calls were heard is known to the window, as long as it stands.

const GAP = 72; // pixels left free above: the header of the page covers them

export default function ({ parentElement, data }) {
  const heard = (window.beftHeard ??= new Set([0]));
  if (heard.has(data.call)) return;
  heard.add(data.call);
  parentElement.querySelector("span").textContent = data.words;
  if (!data.scroll) return;
  const place = parentElement.host ?? parentElement;
  const frame = place.closest("[data-testid=stMain]");
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const top = frame.scrollTop + place.getBoundingClientRect().top - frame.getBoundingClientRect().top - GAP;
  frame.scrollTo({ top: Math.max(0, top), behavior: calm ? "auto" : "smooth" });
}
