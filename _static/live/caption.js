// Captions of scenes of emoji as rows of word numbers: imggen_lib/datasets/captioned_emoji.py in the browser.
//
// imggenLive.captions(record) takes the words of a model's script, {vocabulary, length, styles}, and returns
//   encode(text)        {row, words, unknown: [{word, near}]}: the row, the words in it, and the words that are left out, each with
//                       the known words that are spelled most like it; throws an Error with a message for the reader
//   nearest(word)       these known words
//   controls(tools, {value, onChange})   the controls of a caption, and the list of the known words; returns {element, read()}:
//                       read() returns the result of encode(), with `text`, or null, and shows what is wrong with the caption
(() => {
  // The ratio of difflib.SequenceMatcher: twice the number of matching characters, as a part of all characters. The longest common
  // part is matched first, and then what is before it and what is after it.
  function matching(a, b) {
    let [length, first, second] = [0, 0, 0];
    for (let i = 0; i < a.length; i++) for (let j = 0; j < b.length; j++) {
      let k = 0;
      while (i + k < a.length && j + k < b.length && a[i + k] === b[j + k]) k++;
      if (k > length) [length, first, second] = [k, i, j];
    }
    if (!length) return 0;
    return length + matching(a.slice(0, first), b.slice(0, second)) + matching(a.slice(first + length), b.slice(second + length));
  }

  imggenLive.captions = ({vocabulary, length, styles}) => {
    const numbers = new Map(vocabulary.map((word, index) => [word, index + 1]));

    // As in imggen_lib.datasets.emoji: up to three similar words, or the nearest one.
    const nearest = word => {
      const scored = vocabulary.map(known => [2 * matching([...known], [...word]) / ([...known].length + [...word].length), known]);
      scored.sort(([a, one], [b, other]) => b - a || (one < other ? 1 : -1));
      const similar = scored.filter(([score]) => score >= 0.7).slice(0, 3);
      return (similar.length ? similar : scored.slice(0, 1)).map(([, known]) => known);
    };

    const encode = text => {
      const given = text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [], words = given.filter(word => numbers.has(word));
      const unknown = given.filter(word => !numbers.has(word)).map(word => ({word, near: nearest(word)}));
      if (words.length > length) throw new Error(`The caption has ${words.length} words. Write at most ${length}, with those of the style.`);
      const row = new Float32Array(length);
      words.forEach((word, index) => { row[index] = numbers.get(word); });
      return {row, words, unknown};
    };

    const controls = (tools, {value, onChange}) => {
      const group = tools.row();
      const field = tools.text(group, {name: "caption", label: "Caption", value, onChange});
      const style = tools.select(group, {
        name: "style", label: "Style", value: "none", onChange,
        options: [["none", "not stated"], ...styles.map(name => [name, name])],
      });
      const note = tools.note(group), known = document.createElement("details");
      known.append(
        Object.assign(document.createElement("summary"), {textContent: `All ${vocabulary.length} known words`}),
        Object.assign(document.createElement("p"), {textContent: `A caption has a form such as “two red apples left of a blue car”. The known words: ${vocabulary.join(", ")}.`, tabIndex: 0}),
      );
      group.append(known);
      field.element.setAttribute("aria-describedby", note.id);
      return {
        element: field.element,
        read() {
          const written = field.value.trim(), stated = /\bstyle\b/i.test(written) || style.value === "none";
          const text = stated ? written : `${written}, ${style.value} style`;
          note.textContent = "";
          try {
            if (!encode(written).words.length) throw new Error("The caption has no known word. Write one such as “two blue octopuses”.");
            const found = encode(text);
            note.textContent = found.unknown.map(({word, near}) => `The word “${word}” is unknown and is left out; the nearest known `
              + `${near.length > 1 ? "words are" : "word is"} ${near.map(known => `“${known}”`).join(", ")}.`).join(" ");
            return {...found, text};
          } catch (error) {
            note.textContent = error.message;
            return null;
          }
        },
      };
    };
    return {encode, nearest, controls};
  };
})();
