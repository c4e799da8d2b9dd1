/**
 * Length in bits of the code of each byte, and of the end of a string, as digits of base 36
 * (RFC 7541, appendix B). The codes follow from their lengths: shorter ones first, and among equal
 * ones by the byte.
 */
const lengths: string = [
  "dnsssssssoussussssssssusssssssss6aacd68baa8b8666555666666678f6ca",
  "d67777777777777777777777878djde6f56565666577666567655677777fbeds",
  "kmkkmmmnmnnnnnonoomnonnnnlmnmnnomlkmmnnlnmmolmnnllmlnmnnkmmmnmmn",
  "qqkjmnmpqqqrrqopjlqrrqrollqqsrrrkoklmllnmmppooqnqrqqrrrrrsrrrrrq",
  "u",
].join("");

const endOfString = 256;

/** In a step, besides the number of the next node: a byte is complete, which is the lowest 8 bits. */
const completes = 0x100;
const nodeShift = 9;
/** There is no such code. */
const invalid = -1;

/** A binary tree: two entries a node. Below zero is the leaf of byte `~entry`; 0 is nothing. */
const tree: Int16Array = buildTree();
/** The same for half a byte at a time: a row of 16 for each node. */
const steps: Int32Array = buildSteps();
const endings: ReadonlySet<number> = findEndings();

/** What a string becomes, at 5 bits a byte or more; grows with the longest one. */
let decoded: Buffer = Buffer.alloc(4096);

/** A string that is packed with HPACK's code; undefined if it is no such string. */
export function decodeHuffman(bytes: Uint8Array, start: number, end: number): string | undefined {
  const bytesMax = Math.ceil(((end - start) * 8) / 5);
  if (bytesMax > decoded.byteLength) decoded = Buffer.alloc(bytesMax);
  let length = 0;
  let node = 0;
  for (let half = start * 2; half < end * 2; half += 1) {
    const byte = bytes[half >> 1] ?? 0;
    const step = steps[node * 16 + (half % 2 === 0 ? byte >> 4 : byte & 0xf)] ?? invalid;
    if (step === invalid) return undefined;
    if ((step & completes) !== 0) {
      decoded[length] = step & 0xff;
      length += 1;
    }
    node = step >> nodeShift;
  }
  // What is left is the beginning of the end, and less than a byte of it.
  return endings.has(node) ? decoded.toString("latin1", 0, length) : undefined;
}

function buildTree(): Int16Array {
  const symbols = Array.from(lengths, (digit, symbol) => ({ symbol, length: parseInt(digit, 36) }));
  symbols.sort((a, b) => a.length - b.length || a.symbol - b.symbol);
  // A full tree has one inner node less than it has leaves.
  const nodes = new Int16Array(symbols.length * 2);
  let made = 1;
  let code = 0;
  let before = symbols[0]?.length ?? 0;
  for (const { symbol, length } of symbols) {
    code <<= length - before;
    before = length;
    let node = 0;
    for (let shift = length - 1; shift > 0; shift -= 1) {
      const entry = node * 2 + ((code >> shift) & 1);
      if (nodes[entry] === 0) {
        nodes[entry] = made;
        made += 1;
      }
      node = nodes[entry] ?? 0;
    }
    nodes[node * 2 + (code & 1)] = ~symbol;
    code += 1;
  }
  return nodes;
}

function buildSteps(): Int32Array {
  const built = new Int32Array((tree.length / 2) * 16);
  for (let index = 0; index < built.length; index += 1) {
    let node = index >> 4;
    let byte = 0;
    for (let shift = 3; shift >= 0 && node !== invalid; shift -= 1) {
      const next = tree[node * 2 + ((index >> shift) & 1)] ?? 0;
      if (next >= 0) node = next;
      else if (~next === endOfString) node = invalid;
      else {
        byte = completes | ~next;
        node = 0;
      }
    }
    built[index] = node === invalid ? invalid : (node << nodeShift) | byte;
  }
  return built;
}

/** Nodes at which a string may end: on the way to the end of string, less than a byte from the root. */
function findEndings(): ReadonlySet<number> {
  const found = new Set([0]);
  let node = 0;
  for (let bits = 1; bits < 8; bits += 1) {
    node = tree[node * 2 + 1] ?? 0;
    found.add(node);
  }
  return found;
}
