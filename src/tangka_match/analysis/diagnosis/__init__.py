"""What is wrong with a data set or a run: findings with their numbers, charts, and one page that shows them."""
