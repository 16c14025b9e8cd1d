// What both pages do with a box to type in: show the likeliest next characters, and what the network would write on.
const box = document.getElementById("text"), ghost = document.getElementById("ghost");
const bars = document.getElementById("next"), says = document.getElementById("says");
const spoken = (character) => ({ " ": "space", "\n": "line end" })[character] || character;
function showNext(next) { // [[character, probability], ...]
  bars.replaceChildren(...next.flatMap(([character, p]) => {
    const name = document.createElement("span"), bar = document.createElement("div"), number = document.createElement("span");
    name.textContent = spoken(character);
    bar.style.width = 100 * p + "%";
    number.textContent = (100 * p).toFixed(1) + " %";
    number.className = "number";
    return [name, bar, number];
  }));
}
function take() { // the network's own continuation becomes the text
  box.value += ghost.textContent;
  box.dispatchEvent(new Event("input"));
  box.focus();
}
document.getElementById("take").addEventListener("click", take);
