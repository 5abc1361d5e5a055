// All texts of the page, in English and Chinese.
import { inLanguage } from "../language.js";

const WORDS = {
  title: ["Comparison of runs", "实验对比"],
  written: ["written", "生成于"],
  search: ["Filter: text, or margin=0.2, mean_r1>30", "筛选：关键词，或 margin=0.2、mean_r1>30"],
  allStatus: ["all statuses", "所有状态"],
  allSweeps: ["all sweeps", "所有超参搜索"],
  allData: ["all datasets", "所有数据集"],
  fold: ["Group seeds", "合并随机种子"],
  columns: ["Columns", "选择列"],
  shownOf: ["{0} of {1} runs", "{0} / {1} 个实验"],
  drawn: ["Show in charts", "图中显示"],
  all: ["all", "全部"],
  none: ["none", "不显示"],
  best10: ["best 10", "最好的 10 个"],
  finished: ["finished", "已完成"],
  running: ["running", "运行中"],
  stopped: ["stopped", "已停止"],
  failed: ["failed", "失败"],
  killed: ["killed", "异常中止"],
  pruned: ["pruned", "已剪枝"],
  finishedHelp: ["ran to completion", "正常运行结束"],
  runningHelp: ["still running when this page was written; metrics are the best so far", "生成页面时仍在运行；指标为目前最佳"],
  stoppedHelp: ["stopped by Ctrl-C or SIGTERM; continue with resume=<id>", "被 Ctrl-C 或 SIGTERM 停止；可用 resume=<id> 继续"],
  failedHelp: ["stopped by an error, see run.log", "因错误中止，详见 run.log"],
  killedHelp: ["did not record its end: killed, or the machine went down; continue with resume=<id>", "没有结束记录：进程被杀或机器断电；可用 resume=<id> 继续"],
  prunedHelp: ["stopped early by the study (pruning)", "被搜索提前终止（剪枝）"],
  skipped: ["unreadable ledger lines: {0}", "无法解析的日志行：{0}"],
  problems: ["unreadable files: {0}", "无法读取的文件：{0}"],
  run: ["Run", "实验"],
  runs: ["Runs", "实验列表"],
  status: ["Status", "状态"],
  seed: ["seed", "种子"],
  seeds: ["{0} seeds", "{0} 个种子"],
  folds: ["{0} folds", "{0} 折"],
  sweep: ["Sweep", "超参搜索"],
  job: ["job {0}", "任务 {0}"],
  data: ["Dataset", "数据集"],
  steps: ["Steps", "步数"],
  time: ["Time", "用时"],
  started: ["Started", "开始时间"],
  vsBest: ["vs best", "与最佳相比"],
  best: ["best", "最佳"],
  tied: ["not significant", "差异不显著"],
  worse: ["worse", "更差"],
  better: ["better", "更好"],
  folder: ["Folder", "目录"],
  tags: ["Tags", "标签"],
  overrides: ["Overrides", "命令行参数"],
  command: ["Command", "命令"],
  commit: ["Commit", "提交"],
  code: ["Code", "代码"],
  codeHelp: ["Commit, and a hash of the source files; runs of different code are not grouped", "提交号与源文件哈希；代码不同的实验不会合并"],
  guard: ["Guard", "训练监控"],
  parameters: ["Model parameters", "模型参数量"],
  queries: ["Validation set", "验证集"],
  imagesCaptions: ["{0} images, {1} captions", "{0} 张图像，{1} 条描述"],
  bestStep: ["Best step", "最佳步"],
  stepTime: ["Time per step", "每步用时"],
  phases: ["Where the time went", "时间分布"],
  "phase start": ["start", "启动"],
  "phase data": ["data", "等待数据"],
  "phase forward and backward": ["forward and backward", "前向与反向"],
  "phase optimizer": ["optimizer", "优化器"],
  "phase validation": ["validation", "验证"],
  "phase checkpoints": ["checkpoints", "保存检查点"],
  "phase other": ["other", "其他"],
  gpuBusy: ["GPU busy {0} %", "GPU 利用率 {0} %"],
  peakMemory: ["peak memory {0} MiB", "显存峰值 {0} MiB"],
  unreadable: ["Unreadable", "无法读取"],
  varied: ["{0} values", "{0} 种取值"],
  compareAs: ["Compare as {0}", "设为对比的 {0}"],
  toggle: ["Show or hide in the charts", "在图中显示或隐藏"],
  unfold: ["Show the runs of this group", "展开该组的实验"],
  details: ["Details", "详情"],
  moreColumns: ["Scroll right for more columns →", "向右滚动可查看更多列 →"],
  noRuns: ["No run matches the filter.", "没有符合筛选条件的实验。"],
  curves: ["Curves", "曲线"],
  smoothing: ["Smoothing", "平滑"],
  against: ["x axis", "横轴"],
  step: ["optimizer steps", "优化步数"],
  hours: ["hours of training", "训练时间（小时）"],
  minutes: ["minutes of training", "训练时间（分钟）"],
  byStep: ["steps", "步数"],
  byTime: ["time", "时间"],
  logarithmic: ["log scale", "对数坐标"],
  metric: ["Metric", "指标"],
  resetZoom: ["Reset zoom", "还原缩放"],
  curvesNote: [
    "Drag to zoom, double-click to reset. Bold lines with a band: mean over seeds ± one standard deviation. Long curves are reduced to the minimum and maximum of each interval, at most 400 points (fewer with very many runs); metrics.csv of each run has all values.",
    "拖动可放大，双击还原。粗线与色带：各种子的均值 ± 一个标准差。长曲线按区间只保留最小值与最大值，最多 400 个点（实验很多时更少）；完整数据见各实验的 metrics.csv。",
  ],
  nothingToDraw: ["No data: none of the runs shown has this value.", "没有数据：所显示的实验都没有此项。"],
  recalls: ["Recall of the best {0} in the charts", "图中最好的 {0} 个实验的召回率"],
  recallsNote: [
    "Error bars: 95 % interval over validation images for a single run and for pooled folds; ± one standard deviation for several seeds.",
    "误差线：单个实验（或合并的各折）为验证集图像上的 95 % 置信区间；多个种子为 ± 一个标准差。",
  ],
  colon: [": ", "："],
  bracketed: ["{0} ({1})", "{0}（{1}）"],
  listSeparator: ["; ", "；"],
  i2t: ["image→text", "图→文"],
  t2i: ["text→image", "文→图"],
  settings: ["Settings and results", "参数与结果"],
  result: ["Result", "结果"],
  parallel: ["Parallel coordinates", "平行坐标"],
  parallelNote: ["Drag along an axis to select a range; click the axis to clear it.", "沿坐标轴拖动可选择范围；单击坐标轴取消。"],
  parallelColours: ["Colour of the lines: {0}", "线条颜色：{0}"],
  scatter: ["Result by setting", "结果随参数的变化"],
  setting: ["Setting", "参数"],
  importance: ["What decides the result", "哪些参数影响结果"],
  importanceNote: [
    "Share of the variance between the finished runs shown that a single setting explains (ε² of a one-way ANOVA; numbers with many values are binned into quartiles). Interactions are ignored, and estimates from few runs are unreliable. ρ: Spearman's rank correlation.",
    "在所显示的已完成实验之间，单个参数能解释的方差比例（单因素方差分析的 ε²；取值很多的数值按四分位数分组）。不考虑交互作用，实验少时不可靠。ρ：斯皮尔曼等级相关系数。",
  ],
  importanceNone: [
    "Not available: needs a setting with several values, and at least two finished runs with the same value.",
    "无法计算：需要有取值不同的参数，且同一取值至少有两个已完成的实验。",
  ],
  basis: ["{0} runs", "{0} 个实验"],
  pareto: ["Pareto front", "帕累托前沿"],
  paretoNote: ["Ringed: no other run is both cheaper and better.", "带圈：没有其他实验代价更低且结果更好。"],
  cost: ["Cost", "代价"],
  costParameters: ["model parameters", "模型参数量"],
  costStep: ["seconds per step", "每步用时（秒）"],
  costTime: ["minutes of training", "训练时间（分钟）"],
  severalSets: [
    "The runs shown use {0} datasets, and recalls on different datasets are not comparable: select one above.",
    "所显示的实验来自 {0} 个数据集，召回率不可比较：请在上方选择一个。",
  ],
  compare: ["Compare two runs", "对比两个实验"],
  choose: ["choose …", "请选择…"],
  differs: ["Different settings", "不同的参数"],
  sameSettings: ["{0} other settings are the same.", "其余 {0} 项参数相同。"],
  noDifference: ["All settings are the same.", "所有参数都相同。"],
  difference: ["B − A", "B − A"],
  verdictTied: ["Mean R@1: no significant difference", "平均 R@1：差异不显著"],
  verdictWins: ["Mean R@1: {0} is better by {1}", "平均 R@1：{0} 更好，高 {1}"],
  verdictNumbers: [" (difference B − A {0}, 95 % interval {1} … {2}, {3}).", "（差值 B − A {0}，95 % 置信区间 {1} … {2}，{3}）。"],
  verdictNote: [
    "Paired test over images, and over seeds if there are several, as in tangka_match.compare. If one side was selected as the best of many runs, p is too small.",
    "与 tangka_match.compare 相同的配对检验（针对图像；有多个种子时也针对种子）。若一方是从许多实验中选出的最好者，p 值会偏小。",
  ],
  verdictCannot: ["The runs cannot be compared: {0}", "无法比较：{0}"],
  verdictAsk: ["To test whether the difference is statistically significant, run:", "要检验差异是否显著，请运行："],
  verdictNoRanks: [
    "No test: both sides need ranks.csv, which a run writes when it finishes.",
    "无法检验：两边都需要 ranks.csv（实验完成时写出）。",
  ],
  verdictSeeds: [
    "No test: one side has a single run and the other several seeds; a single run does not measure the variance between seeds.",
    "无法检验：一边只有一个实验，另一边有多个种子；单个实验无法反映种子间的方差。",
  ],
  jump: ["Compare A and B ↓", "对比 A 与 B ↓"],
  pickHint: ["Press A and B in the table, or choose two runs here.", "在表格中点选 A 与 B，或在此选择两个实验。"],
};

/** Return a text in the current language, with `{0}`, `{1}` … filled in. */
export function t(name, ...parts) {
  return inLanguage(WORDS[name], ...parts);
}

/** Return the label of a status; unknown statuses are returned unchanged. */
export function statusText(status) {
  return WORDS[status] ? t(status) : status;
}

/** Return the explanation of a status, or an empty string. */
export function statusHelp(status) {
  return WORDS[`${status}Help`] ? t(`${status}Help`) : "";
}

/** Return the label of a metric. */
export function metricLabel(name) {
  if (name === "mean_r1") return inLanguage(["mean R@1", "平均 R@1"]);
  const [direction, ...rest] = name.split("_");
  if (direction !== "i2t" && direction !== "t2i") return name;
  const kinds = { median_rank: ["median rank", "中位排名"], mean_rank: ["mean rank", "平均排名"] };
  const known = kinds[rest.join("_")];
  const kind = known ? inLanguage(known) : rest.join(" ").replace(/^r(\d+)$/, "R@$1");
  return `${t(direction)} ${kind}`;
}
