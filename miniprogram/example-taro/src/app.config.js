export default {
  pages: ['pages/index/index'],
  window: { navigationBarTitleText: '我的' },
}
