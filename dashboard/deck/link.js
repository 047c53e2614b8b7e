// Copies the link. Browsers give the clipboard to pages with https and of localhost alone: elsewhere the old way is taken.

async function copied(field) {
  field.select();
  try {
    await navigator.clipboard.writeText(field.value);
    return true;
  } catch {
    return document.execCommand("copy"); // of what is selected
  }
}

export default function ({ parentElement, data }) {
  const field = parentElement.querySelector("input");
  const said = parentElement.querySelector("span");
  field.value = data.link;
  parentElement.querySelector("img").src = data.code;
  parentElement.querySelector("button").onclick = async () => {
    said.textContent = (await copied(field)) ? "Copied." : "This browser does not let pages copy: the link is selected, press Ctrl+C.";
  };
}
