// All texts of the page, in English and Chinese.
import { inLanguage } from "../../language.js";

const WORDS = {
  title: ["Pairs of {0}", "{0} 的图文对"],
  about: [
    "{0} of {1} pairs, each ranked by a model that did not train on it; the most probable mismatch comes first. All pairs are in pairs.csv.",
    "共 {1} 对，此处列出 {0} 对；每一对都由未用它训练的模型排名，最可能不匹配的排在最前。全部结果见 pairs.csv。",
  ],
  share: ["An estimated {0} % of all pairs do not belong together, or fewer.", "估计最多有 {0} % 的图文对不匹配。"],
  weak: [
    "The models score {0} % of the pairs like random pairs, so no pair is called swapped; train the folds with a better recipe.",
    "模型对 {0} % 的图文对给出与随机配对相当的分数，因此不标注“疑似配错”；请用更好的方案训练各折。",
  ],
  all: ["all", "全部"],
  "probably swapped": ["probably swapped", "疑似配错"],
  duplicate: ["duplicate", "重复"],
  "no known word": ["no known word", "没有已知词"],
  "outlier picture": ["outlier picture", "异常图像"],
  none: ["no reason", "无特定原因"],
  struck: ["struck out", "已划去"],
  search: ["Caption or image id", "描述或图像编号"],
  shown: ["{0} pairs shown", "显示 {0} 对"],
  mismatch: ["{0} % probability of a mismatch", "不匹配的概率 {0} %"],
  i2t: ["image→text", "图→文"],
  t2i: ["text→image", "文→图"],
  rank: ["rank {0} of {1}", "第 {0} 名，共 {1}"],
  betterCaption: ["Best other caption for this picture", "与该图最匹配的其他描述"],
  betterImage: ["Best other picture for this caption", "与该描述最匹配的其他图像"],
  duplicates: ["Same picture or caption as {0}", "图像或描述与 {0} 相同"],
  more: ["{0} and {1} more", "{0} 等另外 {1} 个"],
  strike: ["Strike out", "划去"],
  nothing: ["No pair matches the filter.", "没有符合条件的图文对。"],
  count: ["{0} struck out", "已划去 {0} 对"],
  kept: [", {0} of them not shown here", "，其中 {0} 对未在此列出"],
  strikeShown: ["Strike out all shown", "划去所有显示的"],
  clear: ["Clear", "清空"],
  save: ["Save list", "保存名单"],
  use: ["Train without them: data.exclude=exclude.txt", "训练时排除它们：data.exclude=exclude.txt"],
};

/** Return a text in the current language, with `{0}` and `{1}` filled in. */
export function t(name, ...parts) {
  return inLanguage(WORDS[name], ...parts);
}
