// The token of this server, kept by the browser for this address (host and port) alone: a reload needs no second one.
const NAME = "beft-token";

export default function ({ data, setStateValue }) {
  try {
    if (data.keep) {
      localStorage.setItem(NAME, data.keep);
      return;
    }
    const kept = localStorage.getItem(NAME);
    if (kept && data.ask && !asked.has(kept)) {
      asked.add(kept);
      setStateValue("kept", kept);
    }
  } catch {
    // a browser that keeps nothing: the token is asked for again
  }
}

const asked = new Set();
