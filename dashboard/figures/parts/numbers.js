// Numbers as text and round numbers along an axis, as dashboard/figures/parts/numbers.py has them: a test compares the two.

// Significant digits in as few characters as possible: 0.692, 45.3, 453, 1.2e-05.
function short(value, digits = 3) {
  const size = Math.abs(value);
  if (size && (size < 1e-4 || size >= 1e5)) return exponential(value, 1);
  return size >= 100 ? value.toFixed(0) : String(+value.toPrecision(digits));
}

const exponential = (value, digits) =>
  value.toExponential(digits).replace(/e([+-])(\d)$/, "e$10$2"); // two digits of the power, as in Python

// Round numbers from low to high, about `most` of them: multiples of 1, 2 or 5 times a power of ten.
function ticks(low, high, most) {
  const rough = (high - low) / most || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find(factor => power * factor >= rough * (1 - 1e-9));
  const first = Math.ceil(low / step - 1e-9), last = Math.floor(high / step + 1e-9);
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => (first + i) * step);
}

// All with as many decimals as it takes to tell neighbours apart.
function tickTexts(values) {
  if (values.length < 2) return values.map(value => short(value));
  const step = Math.abs(values[1] - values[0]), largest = Math.max(...values.map(Math.abs));
  const place = Math.floor(Math.log10(step) + 1e-9);
  if (largest >= 1e5 || largest < 1e-4) {
    const digits = Math.max(0, Math.floor(Math.log10(largest) + 1e-9) - place);
    return values.map(value => (Math.abs(value) > step / 2 ? exponential(value, digits) : "0"));
  }
  return values.map(value => (Math.abs(value) > step / 2 ? value.toFixed(Math.max(0, -place)) : "0"));
}

// Places of labels, in the order of `values`: at least `least` between neighbours, from low to high where they fit, and
// otherwise as near to their values as can be.
function apart(values, least, low = -Infinity, high = Infinity) {
  const order = values.map((_, i) => i).sort((a, b) => values[a] - values[b]);
  const pools = [];
  order.forEach((key, at) => {
    let pool = { mean: values[key] - at * least, count: 1 };
    while (pools.length && pools.at(-1).mean > pool.mean) {
      const before = pools.pop(), count = before.count + pool.count;
      pool = { mean: (before.mean * before.count + pool.mean * pool.count) / count, count };
    }
    pools.push(pool);
  });
  const bound = Math.max(low, high - (order.length - 1) * least);
  const means = pools.flatMap(({ mean, count }) => Array(count).fill(Math.min(Math.max(mean, low), bound)));
  const placed = Array(values.length);
  order.forEach((key, at) => (placed[key] = means[at] + at * least));
  return placed;
}
