// Labels of the page in English and Chinese.
const LABELS = {
  en: {
    title: "Image search",
    search: "Search",
    placeholder: "Describe a picture, in Chinese",
    set: (about) => `${about.data} · ${about.split} · ${about.images.toLocaleString("en")} images`,
    examples: "Try",
    score: "score",
    gap: (value) => `gap ${value}`,
    caption: "Caption",
    captions: "Captions that fit this picture",
    similar: "Similar pictures",
    unknown: "not in the vocabulary of the model",
    samples: "From this set",
    hover: "Point at a word to see the regions that it refers to.",
    none: "No results.",
    noPictures: (folder) => `No pictures: the cards show region boxes and ids. To see pictures, put <image id>.jpg or .png into ${folder}.`,
    searchWith: "Search captions and similar pictures with this one",
    alsoAt: (rank) => `#${rank} in the other model`,
    ownCaption: "caption of this picture",
    other: "中文",
    upload: "Drop a picture here to search with it.",
    uploaded: "Your picture",
    offline: "The server does not answer. Is it still running?",
  },
  zh: {
    title: "以文搜图",
    search: "搜索",
    placeholder: "用一句话描述画面",
    set: (about) => `${about.data} · ${about.split} · ${about.images.toLocaleString("en")} 幅图像`,
    examples: "试试",
    score: "得分",
    gap: (value) => `领先 ${value}`,
    caption: "描述",
    captions: "与此图相配的描述",
    similar: "相似图像",
    unknown: "不在模型词表中",
    samples: "数据集中的图像",
    hover: "将鼠标移到词上（或点按），可看到它在每幅图中对应的区域。",
    none: "没有结果。",
    noPictures: (folder) => `没有图片：卡片显示区域框和编号。要显示图片，请将 <图像编号>.jpg 或 .png 放入 ${folder}。`,
    searchWith: "用这幅图搜索描述和相似图像",
    alsoAt: (rank) => `另一模型中第 ${rank} 名`,
    ownCaption: "此图的描述",
    other: "English",
    upload: "可将图片拖到此处进行搜索。",
    uploaded: "上传的图片",
    offline: "服务器没有响应，是否仍在运行？",
  },
};

const KEY = "tangka_match.language";
let language = stored() ?? (navigator.language.startsWith("zh") ? "zh" : "en");

function stored() {
  try {
    const value = localStorage.getItem(KEY);
    return value in LABELS ? value : null;
  } catch {
    return null; // storage can be blocked
  }
}

export function label(name, ...values) {
  const found = LABELS[language][name];
  return typeof found === "function" ? found(...values) : found;
}

export function switchLanguage() {
  language = language === "en" ? "zh" : "en";
  try {
    localStorage.setItem(KEY, language);
  } catch {
    // The choice then holds until the page is closed.
  }
}

export function applyLabels() {
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-label]")) element.textContent = label(element.dataset.label);
}
