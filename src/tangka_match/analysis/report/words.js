// Every word of the page, in English and Chinese.

const WORDS = {
  title: ["Runs compared", "实验对比"],
  written: ["written", "生成于"],
  search: ["Filter: words, or margin=0.2, mean_r1>30", "筛选：关键词，或 margin=0.2、mean_r1>30"],
  allStatus: ["every status", "所有状态"],
  allSweeps: ["every sweep", "所有扫描"],
  allData: ["every data set", "所有数据集"],
  fold: ["Fold seeds", "合并种子"],
  columns: ["Columns", "列"],
  shownOf: ["{0} of {1} runs", "{0} / {1} 个实验"],
  drawn: ["In the charts", "图中显示"],
  all: ["all", "全部"],
  none: ["none", "不显示"],
  best10: ["best 10", "最好的 10 个"],
  finished: ["finished", "已完成"],
  running: ["running", "进行中"],
  stopped: ["stopped", "已停止"],
  failed: ["failed", "出错"],
  killed: ["killed", "被终止"],
  pruned: ["pruned", "已剪枝"],
  finishedHelp: ["ran to its end", "正常运行到结束"],
  runningHelp: ["was running when this page was written; values are the best so far", "生成页面时仍在运行；数值为目前最好"],
  stoppedHelp: ["ended by Ctrl-C or SIGTERM; go on with resume=<id>", "被 Ctrl-C 或 SIGTERM 停止；可用 resume=<id> 继续"],
  failedHelp: ["ended by an error, see run.log", "因错误结束，见 run.log"],
  killedHelp: ["has no end: killed, or the machine went down; go on with resume=<id>", "没有结束记录：被杀死或断电；可用 resume=<id> 继续"],
  prunedHelp: ["given up by its study", "被搜索提前放弃"],
  skipped: ["unreadable ledger lines: {0}", "{0} 行损坏的记录被跳过"],
  problems: ["unreadable files: {0}", "{0} 个文件无法读取"],
  run: ["Run", "实验"],
  runs: ["Runs", "实验列表"],
  status: ["Status", "状态"],
  seed: ["seed", "种子"],
  seeds: ["{0} seeds", "{0} 个种子"],
  sweep: ["Sweep", "扫描"],
  job: ["job {0}", "作业 {0}"],
  data: ["Data", "数据"],
  steps: ["Steps", "步数"],
  time: ["Time", "用时"],
  started: ["Started", "开始"],
  vsBest: ["vs best", "与最好者"],
  best: ["best", "最好"],
  tied: ["not distinguishable", "无显著差别"],
  worse: ["worse", "更差"],
  better: ["better", "更好"],
  folder: ["Folder", "文件夹"],
  tags: ["Tags", "标签"],
  overrides: ["Overrides", "命令行改动"],
  command: ["Command", "命令"],
  commit: ["Commit", "提交"],
  code: ["code", "代码"],
  codeHelp: ["Commit, and a hash of the code's files; runs of different code are never folded", "提交号与代码文件的哈希；不同代码的实验不会合并"],
  guard: ["Guard", "训练监护"],
  parameters: ["Model parameters", "模型参数量"],
  queries: ["Validated on", "验证集"],
  imagesCaptions: ["{0} images, {1} captions", "{0} 张图，{1} 句"],
  bestStep: ["Best step", "最佳步"],
  stepTime: ["Time a step", "每步用时"],
  unreadable: ["Unreadable", "无法读取"],
  varied: ["{0} values", "{0} 种取值"],
  compareAs: ["Compare as {0}", "作为 {0} 比较"],
  toggle: ["Show or hide in the charts", "在图中显示或隐藏"],
  unfold: ["Show the runs inside", "展开其中的实验"],
  details: ["Details", "详情"],
  noRuns: ["No run matches the filter.", "没有符合筛选条件的实验。"],
  curves: ["Curves", "曲线"],
  smoothing: ["Smoothing", "平滑"],
  against: ["Against", "横轴"],
  step: ["optimizer steps", "优化步数"],
  hours: ["hours of training", "训练小时"],
  minutes: ["minutes of training", "训练分钟"],
  byStep: ["steps", "步数"],
  byTime: ["time", "时间"],
  logarithmic: ["log scale", "对数"],
  metric: ["Metric", "指标"],
  resetZoom: ["Reset zoom", "还原缩放"],
  curvesNote: [
    "Drag a rectangle to zoom, double-click to go back. Bold lines with a band are means over seeds ± one standard deviation. Of long curves the lowest and the highest point of each stretch are kept, at most 400 (fewer where there are very many runs), what a chart can show; metrics.csv of a run has all.",
    "拖动选框可放大，双击还原。粗线加色带为各种子的均值 ± 一个标准差。长曲线每段只保留最低与最高点，最多 400 个（实验很多时更少），即图上能看到的精度；完整数据见各实验的 metrics.csv。",
  ],
  nothingToDraw: ["Nothing to draw: no shown run has this.", "没有可画的数据：显示的实验都没有此项。"],
  recalls: ["Recall of the best {0} shown", "显示中最好的 {0} 个的召回率"],
  recallsNote: [
    "Whiskers: 95 % interval over test images for one run; ± one standard deviation over seeds for several.",
    "须线：单个实验为对测试图像的 95 % 区间；多个种子为 ± 一个标准差。",
  ],
  i2t: ["image→text", "图→文"],
  t2i: ["text→image", "文→图"],
  settings: ["Settings and results", "参数与结果"],
  result: ["Result", "结果"],
  parallel: ["Parallel coordinates", "平行坐标"],
  parallelNote: ["Drag along an axis to keep the runs within; click it to let go.", "沿坐标轴拖动可只看该范围；单击取消。"],
  scatter: ["One setting against the result", "单个参数与结果"],
  setting: ["Setting", "参数"],
  importance: ["What decides the result", "参数重要性"],
  importanceNote: [
    "Share of the variance between the finished runs shown that one setting alone explains (ε² of a one-way analysis of variance; numbers of many values in quarters). Interactions are not seen, and few runs say little. ρ: Spearman's rank correlation.",
    "已完成的实验之间，单个参数能解释的方差比例（单因素方差分析的 ε²；取值很多的数值按四分位分组）。不含交互作用，实验少时仅供参考。ρ：斯皮尔曼秩相关。",
  ],
  importanceNone: [
    "Nothing can be said: it takes a setting that varies, and a level of it with two finished runs.",
    "无法判断：需要有变化的参数，且某一取值至少有两个已完成的实验。",
  ],
  basis: ["{0} runs", "{0} 个实验"],
  pareto: ["Pareto front", "帕累托前沿"],
  paretoNote: ["Ringed: no other run is both cheaper and better.", "带圈者：没有别的实验既更省又更好。"],
  cost: ["Cost", "代价"],
  costParameters: ["model parameters", "模型参数量"],
  costStep: ["seconds a step", "每步秒数"],
  costTime: ["minutes of training", "训练分钟数"],
  severalSets: [
    "The runs shown are of {0} data sets, whose recalls do not compare: choose one above.",
    "显示的实验来自 {0} 个数据集，召回率不可互比：请在上方选择一个。",
  ],
  compare: ["Two runs side by side", "两个实验对照"],
  choose: ["choose …", "请选择…"],
  differs: ["Settings that differ", "不同的参数"],
  sameSettings: ["{0} other settings are the same.", "其余 {0} 项参数相同。"],
  noDifference: ["All settings are the same.", "所有参数都相同。"],
  difference: ["B − A", "B − A"],
  verdictTied: ["Mean R@1: not distinguishable", "平均 R@1：无显著差别"],
  verdictWins: ["Mean R@1: {0} is better by {1}", "平均 R@1：{0} 更好，高 {1}"],
  verdictNumbers: ["difference B − A {0}, 95 % interval {1} … {2}, {3}", "差值 B − A {0}，95 % 区间 {1} … {2}，{3}"],
  verdictNote: [
    "Paired test over images, and over seeds where there are several, as tangka_match.compare makes it. Where one side was picked as the best of many, p looks smaller than it is.",
    "与 tangka_match.compare 相同的配对检验（对图像；多个种子时也对种子）。若一方是从众多实验中挑出的最好者，p 值会偏小。",
  ],
  verdictCannot: ["They cannot be compared: {0}", "无法比较：{0}"],
  verdictAsk: ["Is the difference more than chance? Ask:", "差别是否超出偶然？请运行："],
  verdictNoRanks: [
    "No test: it takes ranks.csv, which a run writes when it finishes, on both sides.",
    "无法检验：两边都需要 ranks.csv（实验完成时写出）。",
  ],
  verdictSeeds: ["No test: one side has one run, the other several seeds; a single run does not say how much seeds vary.", "无法检验：一边只有一个实验，另一边有多个种子；单个实验无法说明种子间的波动。"],
  jump: ["A against B ↓", "A 与 B 对照 ↓"],
  pickHint: ["Press A and B in the table, or choose here.", "在表中点 A、B，或在这里选择。"],
};

let language = navigator.language?.toLowerCase().startsWith("zh") ? 1 : 0;

/** `en` or `zh`. */
export function currentLanguage() {
  return language ? "zh" : "en";
}

/** Change it. */
export function setLanguage(name) {
  language = name === "zh" ? 1 : 0;
  document.documentElement.lang = name === "zh" ? "zh-CN" : "en";
}

/** A text in the language of the page; `{0}`, `{1}` … are filled in. */
export function t(name, ...parts) {
  return WORDS[name][language].replace(/\{(\d)\}/g, (_, n) => parts[n]);
}

/** Of a status that has no words here, its own name. */
export function statusText(status) {
  return WORDS[status] ? t(status) : status;
}

/** What a status means, or nothing. */
export function statusHelp(status) {
  return WORDS[`${status}Help`] ? t(`${status}Help`) : "";
}

/** A metric in words. */
export function metricLabel(name) {
  if (name === "mean_r1") return language ? "平均 R@1" : "mean R@1";
  const [direction, ...rest] = name.split("_");
  if (direction !== "i2t" && direction !== "t2i") return name;
  const kinds = { median_rank: ["median rank", "中位秩"], mean_rank: ["mean rank", "平均秩"] };
  const kind = kinds[rest.join("_")]?.[language] ?? rest.join(" ").replace(/^r(\d+)$/, "R@$1");
  return `${t(direction)} ${kind}`;
}
